import Foundation

/// Converts internationalized names to A-labels.
///
/// Maps characters as browsers do: width forms, composition, lower case. Refuses a label that then is no plausible
/// U-label.
/// - RFC: 5890 2.3.2.1; 5891 4; 5895 2; 3492 (Punycode).
public enum InternationalName {
    /// `xn--bcher-kva.example` for `bücher.example`; nil if a label can't be encoded.
    public static func toASCII(_ text: String) -> String? {
        // U+3002 and its variants are typed as dots (RFC 5895 2).
        let dots: Set<Unicode.Scalar> = [".", "\u{3002}", "\u{FF0E}", "\u{FF61}"]
        var labels: [String] = []
        for label in folded(text).unicodeScalars.split(omittingEmptySubsequences: false, whereSeparator: dots.contains)
        {
            let scalars = Array(label)
            if scalars.allSatisfy(\.isASCII) {
                labels.append(String(String.UnicodeScalarView(scalars)))
                continue
            }
            // An encoded label is longer than its source: this bounds the cost of untrusted text, and every sum below.
            guard scalars.count <= longestEncoding, scalars.allSatisfy(isAllowed), let first = scalars.first,
                !isMark(first), let encoded = punycode(scalars), encoded.utf8.count <= longestEncoding
            else { return nil }
            labels.append("xn--" + encoded)
        }
        return labels.joined(separator: ".")
    }

    /// The most bytes of Punycode after the `xn--` of a label (RFC 1035 2.3.4: 63 in all).
    private static let longestEncoding = 59

    private static func folded(_ text: String) -> String {
        var lower = ""
        for scalar in text.precomposedStringWithCompatibilityMapping.unicodeScalars {
            lower += scalar.properties.lowercaseMapping
        }
        return lower.precomposedStringWithCanonicalMapping
    }

    private static func isMark(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: true
        default: false
        }
    }

    /// Letters, marks and digits of any script, and the hyphen: the core of RFC 5892's PVALID.
    private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII {
            return scalar == "-" || scalar == "_" || scalar.properties.isAlphabetic
                || scalar.properties.numericType != nil
        }
        switch scalar.properties.generalCategory {
        case .lowercaseLetter, .otherLetter, .modifierLetter, .nonspacingMark, .spacingMark, .decimalNumber: return true
        default: return scalar == "\u{00B7}" || scalar == "\u{200C}" || scalar == "\u{200D}" || scalar == "\u{30FB}"
        }
    }

    /// RFC 3492 6.3, with its parameters.
    private static func punycode(_ input: [Unicode.Scalar]) -> String? {
        var output = input.filter(\.isASCII).map { UInt8($0.value) }
        let basic = output.count
        var handled = basic
        if basic > 0 { output.append(UInt8(ascii: "-")) }
        var n: UInt32 = 128
        var delta: UInt32 = 0
        var bias: UInt32 = 72
        while handled < input.count {
            guard let next = input.map(\.value).filter({ $0 >= n }).min() else { return nil }
            let (step, overflow) = (next - n).multipliedReportingOverflow(by: UInt32(handled + 1))
            guard !overflow, delta <= UInt32.max - step else { return nil }
            delta += step
            n = next
            for scalar in input {
                if scalar.value < n { delta += 1 }
                guard scalar.value == n else { continue }
                var q = delta
                var k: UInt32 = 36
                while true {
                    let t = k <= bias ? 1 : (k >= bias + 26 ? 26 : k - bias)
                    if q < t { break }
                    output.append(digit(t + (q - t) % (36 - t)))
                    q = (q - t) / (36 - t)
                    k += 36
                }
                output.append(digit(q))
                bias = adapt(delta, UInt32(handled + 1), isFirst: handled == basic)
                delta = 0
                handled += 1
            }
            delta += 1
            n += 1
        }
        return String(decoding: output, as: UTF8.self)
    }

    private static func digit(_ value: UInt32) -> UInt8 { UInt8(value < 26 ? value + 97 : value - 26 + 48) }

    private static func adapt(_ delta: UInt32, _ points: UInt32, isFirst: Bool) -> UInt32 {
        var delta = isFirst ? delta / 700 : delta / 2
        delta += delta / points
        var k: UInt32 = 0
        while delta > 455 {
            delta /= 35
            k += 36
        }
        return k + 36 * delta / (delta + 38)
    }
}
