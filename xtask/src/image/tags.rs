//! What an image is called.

use anyhow::{Context, Result};

/// The tags of a flavour at a version: the version and all that it is the newest of. A version
/// before its release (`1.2.3-rc.1`) is called by its own name alone.
///
/// # Errors
/// When the version is none.
///
/// # Source
/// Semantic Versioning 2.0.0 §2, §9 and §10; a `+` may not stand in a tag and becomes a `_`.
pub(super) fn tags(version: &str, flavour: &str, default: bool) -> Result<Vec<String>> {
    let core = version.split(['-', '+']).next().unwrap_or(version);
    let numbers: Vec<_> = core.split('.').collect();
    let number = |text: &&str| text.parse::<u64>().is_ok();
    let [major, minor, _] = numbers[..] else {
        anyhow::bail!("`{version}` is no version: there are three numbers in one");
    };
    numbers
        .iter()
        .all(number)
        .then_some(())
        .with_context(|| format!("`{version}` is no version: its parts are numbers"))?;
    let mut names = vec![version.replace('+', "_")];
    if !version.contains('-') {
        names.push(format!("{major}.{minor}"));
        // Until its first release anything may change between 0.1 and 0.2 (§4).
        if major != "0" {
            names.push(major.to_owned());
        }
        names.push("latest".to_owned());
    }
    if default {
        return Ok(names);
    }
    let named = |name: String| match name.as_str() {
        "latest" => flavour.to_owned(),
        _ => format!("{flavour}-{name}"),
    };
    Ok(names.into_iter().map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_the_newest_of_its_minor_and_major() {
        let names = |version, flavour| tags(version, flavour, flavour == "base").unwrap();
        assert_eq!(names("1.2.3", "base"), ["1.2.3", "1.2", "1", "latest"]);
        let mini = ["mini-1.2.3", "mini-1.2", "mini-1", "mini"];
        assert_eq!(names("1.2.3", "mini"), mini);
        assert_eq!(names("0.1.0", "base"), ["0.1.0", "0.1", "latest"]);
        assert_eq!(names("1.2.3-rc.1", "full"), ["full-1.2.3-rc.1"]);
        assert_eq!(names("1.2.3-rc.1+7", "base"), ["1.2.3-rc.1_7"]);
    }

    #[test]
    fn what_is_no_version_names_nothing() {
        for version in ["", "1", "1.2", "1.2.x", "1.2.3.4", "v1.2.3"] {
            assert!(tags(version, "base", true).is_err(), "{version}");
        }
    }
}
