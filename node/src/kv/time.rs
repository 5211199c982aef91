//! Deadlines: from a ttl, to a ttl, to the text that Go prints.
use std::io::Write;

use super::Time;

const SECOND: u64 = 1_000_000_000;

/// 2554-07-21T23:34:33Z, the last whole second that 64 bits of nanoseconds reach. A longer ttl ends here, where
/// etcd's arithmetic wrapped around into the past and expired the key.
pub(super) const LAST: Time = u64::MAX / SECOND * SECOND;

/// The moment `ttl` seconds after `now`. Never 0, which stands for "no deadline" inside nodes.
pub(super) fn deadline(now: Time, ttl: u64) -> Time {
    ttl.saturating_mul(SECOND).saturating_add(now).clamp(1, LAST)
}

/// The seconds left, rounded up; negative when late, as etcd shows it.
pub(super) fn ttl(deadline: Time, now: Time) -> i64 {
    let left = i128::from(deadline) - i128::from(now);
    let second = i128::from(SECOND);
    (left / second + i128::from(left % second > 0)) as i64
}

/// RFC 3339 in UTC with as many fractional digits as needed.
pub fn write_rfc3339(out: &mut Vec<u8>, time: Time) {
    let (seconds, nanos) = (time / SECOND, time % SECOND);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanos != 0 {
        let _ = write!(out, ".{nanos:09}");
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.push(b'Z');
}

/// The Gregorian date `days` after 1970-01-01, by eras of 400 years that begin in March: the leap day is then the
/// last day of a year and needs no case of its own.
pub fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc3339(time: Time) -> String {
        let mut out = Vec::new();
        write_rfc3339(&mut out, time);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_those_of_date_1() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400 * SECOND), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(951_868_799 * SECOND), "2000-02-29T23:59:59Z");
        assert_eq!(rfc3339(1_709_251_199 * SECOND), "2024-02-29T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400 * SECOND), "2100-03-01T00:00:00Z");
        assert_eq!(rfc3339(LAST), "2554-07-21T23:34:33Z");
    }

    #[test]
    fn a_fraction_loses_its_trailing_zeros() {
        assert_eq!(rfc3339(1_451_747_045_123_000_000), "2016-01-02T15:04:05.123Z");
        assert_eq!(rfc3339(1_451_747_045_000_000_001), "2016-01-02T15:04:05.000000001Z");
        assert_eq!(rfc3339(1_451_747_040 * SECOND), "2016-01-02T15:04:00Z");
    }

    #[test]
    fn a_ttl_is_rounded_up_and_goes_negative() {
        assert_eq!(ttl(5 * SECOND, 3 * SECOND), 2);
        assert_eq!(ttl(5 * SECOND, 3 * SECOND + 1), 2);
        assert_eq!(ttl(5 * SECOND, 5 * SECOND - 1), 1);
        assert_eq!(ttl(5 * SECOND, 5 * SECOND), 0);
        assert_eq!(ttl(5 * SECOND, 5 * SECOND + SECOND / 2), 0);
        assert_eq!(ttl(5 * SECOND, 6 * SECOND + SECOND / 2), -1);
    }

    #[test]
    fn a_huge_ttl_ends_at_the_last_second() {
        assert_eq!(deadline(SECOND, u64::MAX), LAST);
        assert_eq!(deadline(0, 0), 1);
    }
}
