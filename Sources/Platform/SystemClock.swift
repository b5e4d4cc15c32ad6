import CLinux
import Glibc

/// The system's clocks: each purpose has its own, and no other code reads one.
public enum SystemClock {
    /// Microseconds since 1970: for people. It jumps when the machine's time is set.
    public static func wall() -> UInt64 { microseconds(CLOCK_REALTIME) }

    /// Microseconds since the machine started, its sleep included: for TTLs, leases and timeouts.
    ///
    /// Never runs backwards. CLOCK_MONOTONIC stands still while the machine sleeps, and a record would outlive its TTL.
    public static func monotonic() -> UInt64 { microseconds(CLOCK_BOOTTIME) }

    /// Nanoseconds, accurate to a few milliseconds, without sleep: the cheapest, for what is asked per record.
    public static func coarse() -> UInt64 {
        let time = read(CLOCK_MONOTONIC_COARSE)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    /// Microseconds of CLOCK_MONOTONIC, without sleep: the clock that the service manager reads.
    public static func awake() -> UInt64 { microseconds(CLOCK_MONOTONIC) }

    /// Microseconds of processor time that this thread has used.
    public static func threadTime() -> UInt64 { microseconds(CLOCK_THREAD_CPUTIME_ID) }

    private static func microseconds(_ clock: clockid_t) -> UInt64 {
        let time = read(clock)
        return UInt64(time.tv_sec) &* 1_000_000 &+ UInt64(time.tv_nsec) / 1000
    }

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        clock_gettime(clock, &time)
        return time
    }
}
