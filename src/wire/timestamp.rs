//! Speaks: the times in a certificate, as seconds since 1970.
//!
//! ```text
//! UTCTime          YYMMDDHHMMSSZ      years 1950 to 2049
//! GeneralizedTime  YYYYMMDDHHMMSSZ    all others
//! ```
//! What lies before 1970 is 0. RFC 5280 section 4.1.2.5.

use super::der::Reader;

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_BEFORE_1970: u64 = 719_468;

/// Reads the next value; `None` if it is not a time.
pub fn read(reader: &mut Reader<'_>) -> Option<u64> {
    let value = reader.any()?;
    let (year, rest) = match value.tag {
        UTC_TIME => {
            let (year, rest) = two_digits(value.content)?;
            let century = if year < 50 { 2000 } else { 1900 };
            (year.saturating_add(century), rest)
        }
        GENERALIZED_TIME => {
            let (century, rest) = two_digits(value.content)?;
            let (year, rest) = two_digits(rest)?;
            (century.saturating_mul(100).saturating_add(year), rest)
        }
        _ => return None,
    };
    let (month, rest) = two_digits(rest)?;
    let (day, rest) = two_digits(rest)?;
    let (hour, rest) = two_digits(rest)?;
    let (minute, rest) = two_digits(rest)?;
    let (second, rest) = two_digits(rest)?;
    let is_time = (1..=12).contains(&month)
        && (1..=days_of(month, year)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && rest == b"Z";
    let minutes = days_since_1970(year, month, day)
        .saturating_mul(24)
        .saturating_add(hour)
        .saturating_mul(60)
        .saturating_add(minute);
    is_time.then(|| minutes.saturating_mul(60).saturating_add(second))
}

/// Reads the fixed form of an HTTP time, `Sun, 06 Nov 1994 08:49:37 GMT`; `None` if it is not
/// one. RFC 9110 section 5.6.7; the two obsolete forms are not read.
#[must_use]
pub fn http_date(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.strip_suffix(" GMT")?.split(' ');
    let (day, name, year) = (words.next()?, words.next()?, words.next()?);
    let time = words.next().filter(|_| words.next().is_none())?;
    let month = MONTHS
        .find(name)
        .filter(|at| name.len() == 3 && at % 3 == 0)?
        / 3;
    let month = u64::try_from(month).ok()?.saturating_add(1);
    let (century, rest) = two_digits(year.as_bytes())?;
    let (year, rest) = two_digits(rest).map(|(year, rest)| {
        let year = century.saturating_mul(100).saturating_add(year);
        (year, rest)
    })?;
    let (day, more) = two_digits(day.as_bytes())?;
    let mut parts = time.split(':').map(|part| two_digits(part.as_bytes()));
    let mut next = || parts.next()?.filter(|(_, rest)| rest.is_empty());
    let ((hour, _), (minute, _), (second, _)) = (next()?, next()?, next()?);
    let is_time = rest.is_empty()
        && more.is_empty()
        && (1..=days_of(month, year)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let minutes = days_since_1970(year, month, day)
        .saturating_mul(24)
        .saturating_add(hour)
        .saturating_mul(60)
        .saturating_add(minute);
    is_time.then(|| minutes.saturating_mul(60).saturating_add(second))
}

fn two_digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let (&[tens, ones], rest) = text.split_first_chunk::<2>()?;
    let digit = |c: u8| char::from(c).to_digit(10).map(u64::from);
    let number = digit(tens)?.saturating_mul(10).saturating_add(digit(ones)?);
    Some((number, rest))
}

const fn days_of(month: u64, year: u64) -> u64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts from 1 March, so that the day that is not always there is the last of the year.
const fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month < 3 {
        (year.saturating_sub(1), month.saturating_add(9))
    } else {
        (year, month.saturating_sub(3))
    };
    let leap_days = (year / 4)
        .saturating_sub(year / 100)
        .saturating_add(year / 400);
    // 31, 30, 31, 30, 31: five months from March have 153 days, and again from August.
    let days_of_months = month.saturating_mul(153).saturating_add(2) / 5;
    year.saturating_mul(365)
        .saturating_add(leap_days)
        .saturating_add(days_of_months)
        .saturating_add(day)
        .saturating_sub(DAYS_BEFORE_1970.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::{Reader, http_date, read};

    #[test]
    fn times_of_http_are_read_in_their_fixed_form_only() {
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        assert_eq!(
            http_date("Thu, 29 Feb 2024 00:00:00 GMT"),
            Some(1_709_164_800)
        );
        for text in [
            "",
            "120",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 06 anF 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
        ] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    fn of(tag: u8, text: &str) -> Option<u64> {
        let mut octets = vec![tag, u8::try_from(text.len()).unwrap()];
        octets.extend_from_slice(text.as_bytes());
        read(&mut Reader::new(&octets))
    }

    #[test]
    fn years_of_two_digits_end_at_2049() {
        assert_eq!(of(0x17, "700101000000Z"), Some(0));
        assert_eq!(of(0x17, "000229235959Z"), Some(951_868_799));
        assert_eq!(of(0x17, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(of(0x17, "500101000000Z"), Some(0));
    }

    #[test]
    fn years_of_four_digits_reach_the_last_one() {
        assert_eq!(of(0x18, "20240301000000Z"), Some(1_709_251_200));
        assert_eq!(of(0x18, "20500101000000Z"), Some(2_524_608_000));
        assert_eq!(of(0x18, "21000301000000Z"), Some(4_107_542_400));
        assert_eq!(of(0x18, "99991231235959Z"), Some(253_402_300_799));
        assert_eq!(of(0x18, "00000101000000Z"), Some(0));
    }

    #[test]
    fn other_texts_are_not_times() {
        for text in [
            "",
            "Z",
            "700101000000",
            "700101000000+0100",
            "701301000000Z",
            "700001000000Z",
            "700100000000Z",
            "700229000000Z",
            "700431000000Z",
            "700101240000Z",
            "700101006000Z",
            "700101000060Z",
            "70010100000:Z",
            "-70101000000Z",
        ] {
            assert_eq!(of(0x17, text), None, "{text:?}");
        }
        assert_eq!(of(0x18, "21000229000000Z"), None);
        assert_eq!(of(0x16, "700101000000Z"), None);
    }
}
