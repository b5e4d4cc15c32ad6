/// Text from outside, made safe to print: characters that draw nothing, or that change how others are drawn, are escaped,
/// and long text is cut with a count.
///
/// Letters of all languages stay, and so does what is plain already.
/// - Parameter most: characters.
func printable(_ text: String, most: Int = 400) -> String {
    var result = ""
    var count = 0
    for scalar in text.unicodeScalars {
        guard count < most else { return result + "... (\(text.utf8.count) bytes)" }
        count += 1
        if isHarmless(scalar) {
            result.unicodeScalars.append(scalar)
        } else {
            result += "\\u{\(String(scalar.value, radix: 16))}"
        }
    }
    return result
}

/// Draws something where it stands, and nothing else.
func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.isASCII { return (0x20...0x7E).contains(scalar.value) }
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
        .letterNumber, .otherNumber, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
        .finalPunctuation, .connectorPunctuation, .otherPunctuation, .mathSymbol, .currencySymbol, .otherSymbol:
        // Letters that are drawn as nothing (Hangul fillers) are asked for by hostile text only.
        return !scalar.properties.isDefaultIgnorableCodePoint
    default: return false
    }
}
