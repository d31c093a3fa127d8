//! The Date header field, as seconds since 1970.

/// Reads a date such as `Sat, 13 Nov 2010 23:29:00 GMT`.
///
/// # Source
/// RFC 3261 §20.17, §25.1: SIP-date is the fixed form of RFC 1123, always in GMT.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let (_, text) = text.split_once(',')?;
    let mut parts = text.split_ascii_whitespace();
    let day: u32 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u32 + 1;
    let year: u32 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':');
    let mut number = || clock.next()?.parse::<u32>().ok();
    let (hour, minute, second) = (number()?, number()?, number()?);
    let gmt = parts.next()? == "GMT" && parts.next().is_none();
    let sane = (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let days = days_before(year, month, day)?;
    let seconds = u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second);
    (gmt && sane).then_some(days * 86_400 + seconds)
}

/// Writes a date.
#[must_use]
pub fn encode(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(days);
    let weekday = WEEKDAYS[((days + 4) % 7) as usize];
    let month = MONTHS[month as usize - 1];
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Days from the first of 1970 to a date. Years begin in March here, so that the leap day is the last.
fn days_before(year: u32, month: u32, day: u32) -> Option<u64> {
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (u64::from(era) * 146_097 + u64::from(day_of_era)).checked_sub(719_468)
}

fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leaps = day_of_era / 1460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3261_20_17_dates() {
        assert_eq!(parse("Sat, 13 Nov 2010 23:29:00 GMT"), Some(1_289_690_940));
        assert_eq!(encode(1_289_690_940), "Sat, 13 Nov 2010 23:29:00 GMT");
        assert_eq!(encode(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(encode(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        for day in (0..40_000_u64).step_by(13) {
            let seconds = day * 86_400 + day % 86_400;
            assert_eq!(parse(&encode(seconds)), Some(seconds));
        }
        for wrong in [
            "",
            "Sat, 13 Nov 2010 23:29:00",
            "Sat, 13 Nov 2010 23:29:00 CET",
            "Sat, 0 Nov 2010 23:29:00 GMT",
            "Sat, 13 Nov 99999 23:29:00 GMT",
            "Sat, 13 Nov 2010 24:29:00 GMT",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
