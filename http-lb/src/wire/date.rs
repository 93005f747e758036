//! Dates as HTTP writes them (RFC 9110 section 5.6.7), to and from seconds since 1970. Kind: pure.

const DAY: u64 = 86_400;

/// Days from 0000-03-01 to 1970-01-01. Years that begin in March end with their leap day, which makes the sums simple.
const EPOCH: u64 = 719_468;
const DAYS_IN_ERA: u64 = 146_097;

/// The first second of the year 10000, which has no four digits.
const END: u64 = 253_402_300_800;

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const LONG_WEEKDAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A date in text, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub type Text = [u8; 29];

/// Writes a date: so many seconds since 1970, up to the end of the year 9999.
pub fn format(seconds: u64) -> Text {
    let seconds = seconds.min(END - 1);
    let (days, second) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(WEEKDAYS[(days % 7) as usize].as_bytes());
    text[8..11].copy_from_slice(MONTHS[month as usize - 1].as_bytes());
    for (at, number) in [(5, day), (12, year / 100), (14, year % 100)] {
        put_two(&mut text[at..], number);
    }
    for (at, number) in [(17, second / 3600), (20, second / 60 % 60), (23, second % 60)] {
        put_two(&mut text[at..], number);
    }
    text
}

fn put_two(text: &mut [u8], number: u64) {
    text[0] = b'0' + (number / 10 % 10) as u8;
    text[1] = b'0' + (number % 10) as u8;
}

/// Year, month and day, so many days after 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (era, day) = (days / DAYS_IN_ERA, days % DAYS_IN_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day - (153 * shifted + 2) / 5 + 1)
}

/// The days since 1970-01-01; nothing for a day that is not in the calendar, or is before that one.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1970..10_000).contains(&year) {
        return None;
    }
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let from_march = year - u64::from(month <= 2);
    let (era, rest) = (from_march / 400, from_march % 400);
    let days = era * DAYS_IN_ERA + rest * 365 + rest / 4 - rest / 100 + (153 * shifted + 2) / 5 + day - 1;
    let days = days.checked_sub(EPOCH)?;
    (civil(days) == (year, month, day)).then_some(days)
}

/// Reads a date in any of the three forms that a receiver must take: seconds since 1970. Anything else, the wrong
/// weekday included, is no date, and a condition with it is to be ignored.
pub fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    match text.split_once(", ") {
        Some((weekday, rest)) if weekday.len() == 3 => parse_fixed(weekday, rest),
        Some((weekday, rest)) => parse_rfc850(weekday, rest),
        None => parse_asctime(text),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parse_fixed(weekday: &str, rest: &str) -> Option<u64> {
    let mut words = rest.strip_suffix(" GMT")?.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || year.len() != 4 {
        return None;
    }
    seconds(&WEEKDAYS, weekday, digits(year)?, month, two(day)?, time)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`. Two digits are the year's since 1970.
fn parse_rfc850(weekday: &str, rest: &str) -> Option<u64> {
    let (date, time) = rest.strip_suffix(" GMT")?.split_once(' ')?;
    let mut words = date.split('-');
    let (day, month, year) = (words.next()?, words.next()?, two(words.next()?)?);
    let year = if year < 70 { 2000 + year } else { 1900 + year };
    words.next().is_none().then(|| seconds(&LONG_WEEKDAYS, weekday, year, month, two(day)?, time))?
}

/// `Sun Nov  6 08:49:37 1994`.
fn parse_asctime(text: &str) -> Option<u64> {
    let (weekday, rest) = text.split_at_checked(3)?;
    let (month, rest) = rest.strip_prefix(' ')?.split_at_checked(3)?;
    let (day, rest) = rest.strip_prefix(' ')?.split_at_checked(2)?;
    let (time, year) = rest.strip_prefix(' ')?.split_once(' ')?;
    let day = day.strip_prefix(' ').map_or_else(|| two(day), digits)?;
    (year.len() == 4).then(|| seconds(&WEEKDAYS, weekday, digits(year)?, month, day, time))?
}

fn seconds(weekdays: &[&str; 7], weekday: &str, year: u64, month: &str, day: u64, time: &str) -> Option<u64> {
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let days = days(year, month, day)?;
    let mut words = time.split(':');
    let (hour, minute, second) = (two(words.next()?)?, two(words.next()?)?, two(words.next()?)?);
    // A leap second is the last of its minute.
    let valid = words.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    let valid = valid && weekdays[(days % 7) as usize] == weekday;
    valid.then(|| days * DAY + hour * 3600 + minute * 60 + second.min(59))
}

fn two(text: &str) -> Option<u64> {
    if text.len() == 2 { digits(text) } else { None }
}

fn digits(text: &str) -> Option<u64> {
    super::text::decimal(text.as_bytes())
}

/// The date of the last second that somebody asked for: a worker answers many requests within one.
#[derive(Debug, Clone, Copy)]
pub struct DateCache {
    second: u64,
    text: Text,
}

impl Default for DateCache {
    fn default() -> Self {
        Self { second: 0, text: format(0) }
    }
}

impl DateCache {
    /// The date of this second.
    #[inline]
    pub fn at(&mut self, seconds: u64) -> &Text {
        if seconds != self.second {
            (self.second, self.text) = (seconds, format(seconds));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: Option<u64>) {
        assert_eq!(parse(text.as_bytes()), seconds, "{text}");
    }

    #[test]
    fn a_date_comes_in_three_forms() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Thu, 29 Feb 2024 23:59:60 GMT", Some(1_709_251_199));
        check("Wednesday, 18-Jan-38 00:00:00 GMT", None);
        check("Monday, 18-Jan-38 00:00:00 GMT", Some(2_147_385_600));
    }

    #[test]
    fn anything_else_is_no_date() {
        let wrong = [
            "",
            "0",
            "yesterday",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Thu, 29 Feb 2023 00:00:00 GMT",
            "Thu, 30 Feb 2024 00:00:00 GMT",
            "Sun, 00 Nov 1994 00:00:00 GMT",
            "Sun, 06 Nov 1994 +8:49:37 GMT",
            "Sun Nov 06 08:49:37 +994",
            "S\u{fc}n Nov  6 08:49:37 1994",
        ];
        wrong.iter().for_each(|text| check(text, None));
    }

    #[test]
    fn every_day_is_written_as_others_write_it_and_read_again() {
        for day in (0..END / DAY).step_by(17).chain([END / DAY - 1]) {
            let seconds = day * DAY + day * 7919 % DAY;
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(String::from_utf8_lossy(&format(seconds)), text);
            assert_eq!(parse(text.as_bytes()), Some(seconds));
        }
        assert_eq!(format(u64::MAX), format(END - 1));
    }

    #[test]
    fn a_second_is_formatted_once() {
        let mut cache = DateCache::default();
        for seconds in [784_111_777, 784_111_777, 0, 5] {
            assert_eq!(*cache.at(seconds), format(seconds));
        }
    }
}
