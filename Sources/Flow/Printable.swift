/// Makes untrusted text safe to print: escapes invisible characters and those that change how others are drawn, and
/// shortens long text with a count.
///
/// Letters of all languages and plain characters stay.
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

/// Whether it draws something in its own place and has no other effect.
func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.isASCII { return (0x20...0x7E).contains(scalar.value) }
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
        .letterNumber, .otherNumber, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
        .finalPunctuation, .connectorPunctuation, .otherPunctuation, .mathSymbol, .currencySymbol, .otherSymbol:
        // Only hostile text uses letters that are drawn as nothing (Hangul fillers).
        return !scalar.properties.isDefaultIgnorableCodePoint
    default: return false
    }
}
