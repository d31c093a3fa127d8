//! Prefixes by country.

/// How numbers are dialled in a country.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country {
    /// Two letters (ISO 3166-1).
    pub name: &'static str,
    /// Country code, without plus.
    pub code: &'static str,
    /// What stands before a country code when dialling abroad.
    pub international: &'static str,
    /// What stands before an area code and is no part of the number; empty: nothing.
    pub national: &'static str,
    /// Shortest and longest national number where one is dialled without any prefix; 0: it never is,
    /// or its length says nothing.
    pub lengths: (u8, u8),
}

impl Country {
    /// The country with these two letters, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        COUNTRIES
            .iter()
            .find(|country| country.name.eq_ignore_ascii_case(name))
    }
}

/// Countries by name.
///
/// # Source
/// E.164 §6, E.164.C; the ITU's lists of country codes and dialling prefixes
pub const COUNTRIES: &[Country] = &[
    open("AE", "971", "00", "0"),
    open("AL", "355", "00", "0"),
    open("AM", "374", "00", "0"),
    open("AR", "54", "00", "0"),
    open("AT", "43", "00", "0"),
    open("AU", "61", "0011", "0"),
    open("AZ", "994", "00", "0"),
    open("BA", "387", "00", "0"),
    open("BD", "880", "00", "0"),
    open("BE", "32", "00", "0"),
    open("BG", "359", "00", "0"),
    closed("BH", "973", "00", "", 8, 8),
    open("BR", "55", "00", "0"),
    open("BY", "375", "810", "8"),
    closed("CA", "1", "011", "1", 10, 10),
    open("CH", "41", "00", "0"),
    closed("CL", "56", "00", "", 9, 9),
    open("CN", "86", "00", "0"),
    closed("CO", "57", "00", "", 10, 10),
    closed("CR", "506", "00", "", 8, 8),
    closed("CY", "357", "00", "", 8, 8),
    closed("CZ", "420", "00", "", 9, 9),
    open("DE", "49", "00", "0"),
    closed("DK", "45", "00", "", 8, 8),
    closed("DO", "1", "011", "1", 10, 10),
    open("DZ", "213", "00", "0"),
    open("EC", "593", "00", "0"),
    closed("EE", "372", "00", "", 7, 8),
    open("EG", "20", "00", "0"),
    closed("ES", "34", "00", "", 9, 9),
    open("ET", "251", "00", "0"),
    open("FI", "358", "00", "0"),
    open("FR", "33", "00", "0"),
    open("GB", "44", "00", "0"),
    open("GE", "995", "00", "0"),
    open("GH", "233", "00", "0"),
    closed("GR", "30", "00", "", 10, 10),
    closed("HK", "852", "001", "", 8, 8),
    open("HR", "385", "00", "0"),
    open("HU", "36", "00", "06"),
    open("ID", "62", "001", "0"),
    open("IE", "353", "00", "0"),
    open("IL", "972", "00", "0"),
    open("IN", "91", "00", "0"),
    closed("IS", "354", "00", "", 7, 7),
    // The zero of an Italian area code is part of the number.
    closed("IT", "39", "00", "", 8, 11),
    closed("JM", "1", "011", "1", 10, 10),
    open("JO", "962", "00", "0"),
    open("JP", "81", "010", "0"),
    open("KE", "254", "000", "0"),
    open("KR", "82", "001", "0"),
    closed("KW", "965", "00", "", 8, 8),
    open("KZ", "7", "810", "8"),
    open("LB", "961", "00", "0"),
    closed("LI", "423", "00", "", 7, 7),
    open("LK", "94", "00", "0"),
    open("LT", "370", "00", "0"),
    closed("LU", "352", "00", "", 6, 11),
    closed("LV", "371", "00", "", 8, 8),
    open("MA", "212", "00", "0"),
    open("MD", "373", "00", "0"),
    open("ME", "382", "00", "0"),
    open("MK", "389", "00", "0"),
    closed("MO", "853", "00", "", 8, 8),
    closed("MT", "356", "00", "", 8, 8),
    closed("MX", "52", "00", "", 10, 10),
    open("MY", "60", "00", "0"),
    open("NG", "234", "009", "0"),
    open("NL", "31", "00", "0"),
    closed("NO", "47", "00", "", 8, 8),
    open("NP", "977", "00", "0"),
    open("NZ", "64", "00", "0"),
    closed("OM", "968", "00", "", 8, 8),
    closed("PA", "507", "00", "", 7, 8),
    open("PE", "51", "00", "0"),
    open("PH", "63", "00", "0"),
    open("PK", "92", "00", "0"),
    closed("PL", "48", "00", "", 9, 9),
    closed("PR", "1", "011", "1", 10, 10),
    closed("PT", "351", "00", "", 9, 9),
    closed("QA", "974", "00", "", 8, 8),
    open("RO", "40", "00", "0"),
    open("RS", "381", "00", "0"),
    open("RU", "7", "810", "8"),
    open("SA", "966", "00", "0"),
    open("SE", "46", "00", "0"),
    closed("SG", "65", "000", "", 8, 8),
    open("SI", "386", "00", "0"),
    open("SK", "421", "00", "0"),
    open("TH", "66", "001", "0"),
    closed("TN", "216", "00", "", 8, 8),
    open("TR", "90", "00", "0"),
    open("TW", "886", "002", "0"),
    open("TZ", "255", "000", "0"),
    open("UA", "380", "00", "0"),
    open("UG", "256", "000", "0"),
    closed("US", "1", "011", "1", 10, 10),
    open("UY", "598", "00", "0"),
    open("VE", "58", "00", "0"),
    open("VN", "84", "00", "0"),
    open("ZA", "27", "00", "0"),
];

/// National numbers are dialled with a prefix only.
const fn open(
    name: &'static str,
    code: &'static str,
    international: &'static str,
    national: &'static str,
) -> Country {
    closed(name, code, international, national, 0, 0)
}

/// National numbers are dialled without a prefix, and known by their length.
const fn closed(
    name: &'static str,
    code: &'static str,
    international: &'static str,
    national: &'static str,
    shortest: u8,
    longest: u8,
) -> Country {
    Country {
        name,
        code,
        international,
        national,
        lengths: (shortest, longest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_sound() {
        assert!(COUNTRIES.windows(2).all(|pair| pair[0].name < pair[1].name));
        for country in COUNTRIES {
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            assert!(digits(country.code) && (1..=3).contains(&country.code.len()));
            assert!(digits(country.international) && country.international.len() >= 2);
            assert!(digits(country.national) && country.national.len() <= 2);
            let (shortest, longest) = country.lengths;
            assert!(shortest <= longest && longest <= 11, "{}", country.name);
            assert!(
                !country.national.is_empty() || longest > 0,
                "{}",
                country.name
            );
        }
    }

    #[test]
    fn names_have_any_case() {
        assert_eq!(Country::named("de").map(|c| c.code), Some("49"));
        assert_eq!(Country::named("XX"), None);
    }
}
