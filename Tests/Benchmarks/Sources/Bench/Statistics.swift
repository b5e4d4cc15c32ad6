/// The samples of several rounds: their median and spread.
struct Statistic: Sendable {
    private(set) var samples: [Double] = []

    mutating func add(_ sample: Double) { samples.append(sample) }

    var median: Double {
        let sorted = samples.sorted()
        guard !sorted.isEmpty else { return .nan }
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    /// Half the distance from the lowest to the highest.
    var spread: Double { ((samples.max() ?? .nan) - (samples.min() ?? .nan)) / 2 }
}

/// All results, by task, server and metric.
struct Results: Sendable {
    private var statistics: [String: [Peer: [Metric: Statistic]]] = [:]

    mutating func add(_ sample: Sample, _ work: Work, _ peer: Peer) {
        for (metric, value) in sample {
            statistics[work.id, default: [:]][peer, default: [:]][metric, default: Statistic()].add(value)
        }
    }

    func has(_ work: Work) -> Bool { statistics[work.id] != nil }

    func statistic(_ work: Work, _ peer: Peer, _ metric: Metric) -> Statistic? { statistics[work.id]?[peer]?[metric] }

    func median(_ work: Work, _ peer: Peer, _ metric: Metric) -> Double? { statistic(work, peer, metric)?.median }

    /// The ratio of stub53 to the echo.
    func echoes(_ work: Work, _ metric: Metric) -> Double? { ratio(work, metric, to: .echo) }

    /// The ratio of stub53 to a peer: the median of the rounds' ratios, because a noisy round affects both.
    func ratio(_ work: Work, _ metric: Metric, to peer: Peer) -> Double? {
        guard let own = statistic(work, .stub53, metric), let other = statistic(work, peer, metric),
            !other.samples.contains(where: { $0 <= 0 })
        else { return nil }
        // If a round failed for one of them, there are no pairs.
        guard own.samples.count == other.samples.count else { return own.median / other.median }
        var ratios = Statistic()
        for (mine, theirs) in zip(own.samples, other.samples) { ratios.add(mine / theirs) }
        return ratios.median
    }

    /// Whether stub53 reaches the bar; nil if something to compare with was not measured.
    func holds(_ bar: Bar, _ work: Work, _ metric: Metric) -> Bool? {
        guard let own = median(work, .stub53, metric) else { return nil }
        var holds = true
        if let limit = bar.echoes {
            guard let echoes = echoes(work, metric) else { return nil }
            holds = holds && echoes <= limit
        }
        for peer in bar.below {
            guard let ratio = ratio(work, metric, to: peer) else { return nil }
            holds = holds && ratio < 1
        }
        if let most = bar.most { holds = holds && own <= most }
        if let scale = bar.scale {
            guard let ratio = ratio(work, metric, to: .stub53Two) else { return nil }
            holds = holds && 2 * ratio >= scale
        }
        return holds
    }
}
