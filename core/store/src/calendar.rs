//! Dates in UTC.

use std::fmt;

use base::UnixTime;

/// A moment as year, month, day and time of day, in UTC. Displays as RFC 3339 does it:
/// `2026-11-21T04:45:56Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// The year.
    pub year: u64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// Seconds since midnight.
    pub second: u32,
}

impl From<UnixTime> for Date {
    fn from(UnixTime(seconds): UnixTime) -> Self {
        // Counted from 1 March of the year 0, so that a leap day ends a year; an era is 400 years.
        let days = seconds / DAY + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * shifted + 2) / 5 + 1) as u8,
            second: (seconds % DAY) as u32,
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            second,
        } = self;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// A moment as a Date header field has it: `Sat, 13 Nov 2010 23:29:00 GMT`.
///
/// # Source
/// RFC 3261 §20.17.
#[must_use]
pub fn header_date(at: UnixTime) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let date = Date::from(at);
    let weekday = WEEKDAYS[(at.0 / DAY % 7) as usize];
    let month = MONTHS[usize::from(date.month.clamp(1, 12)) - 1];
    let (hour, minute, second) = (date.second / 3600, date.second / 60 % 60, date.second % 60);
    let (day, year) = (date.day, date.year);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Date::from(UnixTime(seconds)).to_string(), text);
        }
    }

    #[test]
    fn rfc3261_20_17_a_date_header_field() {
        let date = header_date(UnixTime(1_289_690_940));
        assert_eq!(date, "Sat, 13 Nov 2010 23:29:00 GMT");
        assert_eq!(header_date(UnixTime(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
