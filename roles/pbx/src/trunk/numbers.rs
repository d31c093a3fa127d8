//! One number in its many forms: as dialled, as E.164, as a provider wants it.
//!
//! Short numbers (extensions, emergency and service numbers) have one form only and pass as they are.

use super::config::NumberPolicy;
use super::countries::Country;

/// The form of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `+4930123456`
    #[default]
    E164,
    /// `4930123456`
    Digits,
    /// `004930123456`
    International,
    /// `030123456` at home, `0044…` abroad.
    National,
    /// As it was dialled.
    AsDialled,
}

/// A beginning that is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The beginning; empty: that of every number.
    pub from: Box<str>,
    /// What takes its place.
    pub to: Box<str>,
}

impl NumberPolicy {
    /// `dialled` as the trunk wants it.
    #[must_use]
    pub fn to_trunk(&self, dialled: &str) -> String {
        let formed = match (self.country, self.format) {
            (_, Format::AsDialled) => dialled.to_owned(),
            (Some(country), format) => show(&normalise(dialled, country), country, format),
            (None, Format::Digits) => dialled.trim_start_matches('+').to_owned(),
            (None, _) => dialled.to_owned(),
        };
        rewrite(&formed, &self.outgoing)
    }

    /// A number of the trunk, as E.164 if it has that form.
    #[must_use]
    pub fn from_trunk(&self, number: &str) -> String {
        let number = rewrite(number, &self.incoming);
        let Some(country) = self.country else {
            return number;
        };
        let normal = normalise(&number, country);
        let bare = normal == number && number.bytes().all(|byte| byte.is_ascii_digit());
        if self.format == Format::Digits
            && bare
            && (MIN_GLOBAL..=MAX_GLOBAL).contains(&number.len())
        {
            return format!("+{number}");
        }
        normal
    }

    /// What is dialled here when the trunk calls `number`, which [`from_trunk`](Self::from_trunk) gave.
    #[must_use]
    pub fn extension(&self, number: &str) -> String {
        let same = |did: &str| did == number || self.from_trunk(did) == number;
        let listed = self.did.iter().find(|(did, _)| same(did));
        match listed {
            Some((_, extension)) => extension.to_string(),
            None if self.otherwise.is_empty() => number.to_owned(),
            None => self.otherwise.replace("{number}", number),
        }
    }
}

/// A dialled number as E.164, with its plus; as it is if it is none.
///
/// # Source
/// E.164 §6.2, §7; E.123 §2
#[must_use]
pub fn normalise(dialled: &str, country: &Country) -> String {
    let global = |digits: &str| {
        (MIN_GLOBAL..=MAX_GLOBAL)
            .contains(&digits.len())
            .then(|| format!("+{digits}"))
    };
    let plus = dialled.strip_prefix('+');
    let digits = plus.unwrap_or(dialled);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return dialled.to_owned();
    }
    if plus.is_some() {
        return dialled.to_owned();
    }
    if let Some(number) = digits.strip_prefix(country.international).and_then(global) {
        return number;
    }
    let (shortest, longest) = country.lengths;
    let closed = |digits: &str| {
        (usize::from(shortest)..=usize::from(longest)).contains(&digits.len()) && longest > 0
    };
    let behind_prefix = digits
        .strip_prefix(country.national)
        .filter(|_| !country.national.is_empty())
        .filter(|rest| closed(rest) || longest == 0 && rest.len() >= MIN_NATIONAL);
    let national = behind_prefix.or_else(|| Some(digits).filter(|digits| closed(digits)));
    national
        .and_then(|number| global(&format!("{}{number}", country.code)))
        .unwrap_or_else(|| dialled.to_owned())
}

/// An E.164 number in another form; anything else as it is.
#[must_use]
pub fn show(number: &str, country: &Country, format: Format) -> String {
    let Some(digits) = number.strip_prefix('+') else {
        return number.to_owned();
    };
    match format {
        Format::E164 | Format::AsDialled => number.to_owned(),
        Format::Digits => digits.to_owned(),
        Format::National => match digits.strip_prefix(country.code) {
            Some(national) => format!("{}{national}", country.national),
            None => format!("{}{digits}", country.international),
        },
        Format::International => format!("{}{digits}", country.international),
    }
}

/// The first rule that fits is applied.
fn rewrite(number: &str, rules: &[Rewrite]) -> String {
    let fits = |rule: &Rewrite| Some(format!("{}{}", rule.to, number.strip_prefix(&*rule.from)?));
    rules
        .iter()
        .find_map(fits)
        .unwrap_or_else(|| number.to_owned())
}

/// A shorter number behind a national prefix is somebody's extension or a service.
const MIN_NATIONAL: usize = 5;

/// Shortest number with its country code that is dialled from abroad.
const MIN_GLOBAL: usize = 7;

/// Longest number with its country code (E.164 §6.2.1).
const MAX_GLOBAL: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn e164(country: &str, dialled: &str) -> String {
        normalise(dialled, Country::named(country).unwrap())
    }

    #[test]
    fn national_international_and_plus_are_one_number() {
        for (country, dialled, number) in [
            ("DE", "030123456", "+4930123456"),
            ("DE", "004930123456", "+4930123456"),
            ("DE", "+4930123456", "+4930123456"),
            ("DE", "0044207946000", "+44207946000"),
            ("US", "14155550100", "+14155550100"),
            ("US", "4155550100", "+14155550100"),
            ("US", "011493012345", "+493012345"),
            ("IT", "0612345678", "+390612345678"),
            ("FR", "0142685300", "+33142685300"),
            ("HU", "0612345678", "+3612345678"),
            ("RU", "84951234567", "+74951234567"),
            ("AU", "0011442079460000", "+442079460000"),
            ("AU", "0298765432", "+61298765432"),
            ("JP", "0312345678", "+81312345678"),
            ("DK", "33123456", "+4533123456"),
            ("SG", "61234567", "+6561234567"),
        ] {
            assert_eq!(e164(country, dialled), number, "{country} {dialled}");
        }
    }

    #[test]
    fn short_numbers_and_words_stay() {
        for (country, dialled) in [
            ("DE", "112"),
            ("DE", "110"),
            ("DE", "1001"),
            ("DE", "0"),
            ("DE", "0800"),
            ("US", "911"),
            ("AU", "000"),
            ("GB", "999"),
            ("DK", "112"),
            ("DE", "alice"),
            ("DE", "*97"),
            ("DE", "+"),
            ("DE", "00123456789012345678"),
        ] {
            assert_eq!(e164(country, dialled), dialled, "{country} {dialled}");
        }
    }

    fn policy(format: Format) -> NumberPolicy {
        NumberPolicy {
            country: Country::named("DE"),
            format,
            ..NumberPolicy::default()
        }
    }

    #[test]
    fn a_number_gets_the_form_that_the_trunk_wants() {
        for (format, at_home, abroad) in [
            (Format::E164, "+4930123456", "+44207946000"),
            (Format::Digits, "4930123456", "44207946000"),
            (Format::International, "004930123456", "0044207946000"),
            (Format::National, "030123456", "0044207946000"),
            (Format::AsDialled, "030123456", "+44207946000"),
        ] {
            let policy = policy(format);
            assert_eq!(policy.to_trunk("030123456"), at_home, "{format:?}");
            assert_eq!(policy.to_trunk("+44207946000"), abroad, "{format:?}");
            assert_eq!(policy.to_trunk("112"), "112");
        }
    }

    #[test]
    fn what_comes_back_is_understood() {
        for (format, number) in [
            (Format::E164, "+4930123456"),
            (Format::Digits, "4930123456"),
            (Format::International, "004930123456"),
            (Format::National, "030123456"),
        ] {
            assert_eq!(
                policy(format).from_trunk(number),
                "+4930123456",
                "{format:?}"
            );
        }
        assert_eq!(policy(Format::Digits).from_trunk("1001"), "1001");
        let unknown = NumberPolicy::default();
        assert_eq!(unknown.from_trunk("030123456"), "030123456");
    }

    #[test]
    fn beginnings_are_replaced_once() {
        let rule = |from: &str, to: &str| Rewrite {
            from: from.into(),
            to: to.into(),
        };
        let mut policy = policy(Format::National);
        policy.outgoing = vec![rule("0180", "9180"), rule("", "7")];
        policy.incoming = vec![rule("7", "")];
        assert_eq!(policy.to_trunk("0180555"), "9180555");
        assert_eq!(policy.to_trunk("030123456"), "7030123456");
        assert_eq!(policy.from_trunk("7030123456"), "+4930123456");
    }

    #[test]
    fn called_numbers_reach_extensions() {
        let mut policy = policy(Format::National);
        policy.did = vec![
            ("030123450".into(), "1001".into()),
            ("+4930123459".into(), "600".into()),
        ];
        assert_eq!(policy.extension("+4930123450"), "1001");
        assert_eq!(policy.extension("+4930123459"), "600");
        assert_eq!(policy.extension("+4930123455"), "+4930123455");
        policy.otherwise = "1002".into();
        assert_eq!(policy.extension("+4930123455"), "1002");
    }
}
