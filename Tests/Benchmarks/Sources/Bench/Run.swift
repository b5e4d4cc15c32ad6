import CHarness
import Foundation

/// All rounds of all tasks.
struct Run {
    private let settings: Settings
    private let works: [Work]
    private let folder: String

    init(_ settings: Settings, _ works: [Work]) throws {
        self.settings = settings
        self.works = works
        let parent = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        var template = Array("\(parent)/stub53-bench.XXXXXX".utf8CString)
        guard let path = mkdtemp(&template) else { throw Failure("\(parent): \(String(cString: strerror(errno)))") }
        folder = String(cString: path)
        try FileManager.default.createDirectory(atPath: settings.output, withIntermediateDirectories: true)
        // Keeps servers from finding files in the current folder.
        guard FileManager.default.changeCurrentDirectoryPath(folder) else {
            throw Failure("\(folder): not to be entered")
        }
        guard harness_pin(settings.loadCores) == 0 else { throw Failure("sched_setaffinity: \(errno)") }
    }

    func measure() throws {
        let folder = folder
        Child.stopAllOnSignals { try? FileManager.default.removeItem(atPath: folder) }
        defer { try? FileManager.default.removeItem(atPath: folder) }

        let measurement = Measurement(settings: settings, folder: folder)
        var results = Results()
        // All servers in each round, so that noise affects them alike.
        for work in works {
            for round in 1...settings.rounds {
                for peer in work.servers where peer == .echo || isInstalled(peer) {
                    do {
                        let sample = try measurement.measure(work, peer)
                        results.add(sample, work, peer)
                        progress(work, round, peer, sample)
                    } catch let failure as Failure {
                        say("\(work.id) \(round)/\(settings.rounds) \(peer.rawValue): \(failure)")
                    }
                }
            }
        }

        let report = Report(works: works, results: results, settings: settings)
        say("\n\(report.details)\n\(report.table)")
        try report.json().write(to: URL(fileURLWithPath: settings.output + "/results.json"))
        let plot = Plot(works: works, results: results).svg
        try plot.write(toFile: settings.output + "/results.svg", atomically: false, encoding: .utf8)
        say("\(settings.output)/results.json, results.svg")
    }

    private func progress(_ work: Work, _ round: Int, _ peer: Peer, _ sample: Sample) {
        let figures = Metric.allCases.compactMap { metric in
            sample[metric].map { "\(metric) \(Report.number($0))\(metric.unit)" }
        }
        say("\(work.id) \(round)/\(settings.rounds) \(peer.rawValue): \(figures.joined(separator: ", "))")
    }

    private func isInstalled(_ peer: Peer) -> Bool {
        if peer.program.isEmpty { return true }
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        return folders.contains { access("\($0)/\(peer.program)", X_OK) == 0 }
    }
}

/// Prints a line unbuffered, also into a pipe.
private func say(_ text: String) { FileHandle.standardOutput.write(Data("\(text)\n".utf8)) }
