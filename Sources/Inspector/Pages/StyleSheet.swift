import Lookup

/// The page's style: the colours of the sources, then `app.css`.
enum StyleSheet {
    static let bytes = Array(sources.utf8) + PackageResources.app_css

    /// For each source: the variables `--WORD` and `--WORD-tint`, light and dark, and a class that applies them.
    private static let sources: String = {
        func variables(_ colors: (SourceKind) -> SourceKind.ColorPair) -> String {
            SourceKind.allCases.map { "--\($0): \(colors($0).text); --\($0)-tint: \(colors($0).tint)" }.joined(
                separator: "; ")
        }
        let classes = SourceKind.allCases.map { ".\($0) { --own: var(--\($0)); --tint: var(--\($0)-tint) }\n" }
        return """
            :root { \(variables(\.lightColors)) }
            @media (prefers-color-scheme: dark) { :root { \(variables(\.darkColors)) } }
            \(classes.joined())
            """
    }()
}
