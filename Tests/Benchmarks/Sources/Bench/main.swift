import Foundation

// Runs stub53 and its peers one after the other, with the same data and load, and reports what each needs. It only
// measures: a missed bar is a word in a table, not a failure.

do {
    let settings = try Settings(ProcessInfo.processInfo.environment)
    let works = try Work.chosen(settings.rows)
    try Run(settings, works).measure()
} catch {
    FileHandle.standardError.write(Data("bench: \(error)\n".utf8))
    exit(1)
}
