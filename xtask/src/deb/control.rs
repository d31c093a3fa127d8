//! What a package says of itself.

use anyhow::Result;

/// The control file; `size` is that of all files, in octets.
///
/// # Source
/// Debian Policy §5.3 and §5.6.
pub(super) fn control(version: &str, architecture: &str, size: usize) -> String {
    let version = debian_version(version);
    let kilobytes = size.div_ceil(1024);
    format!(
        "\
Package: dialtone
Version: {version}
Architecture: {architecture}
Maintainer: {MAINTAINER}
Installed-Size: {kilobytes}
Depends: adduser
Section: comm
Priority: optional
Description: phone company in one program
 A registrar, PBX, conference bridge and media relay for SIP phones, browsers
 and providers. One static program that starts in milliseconds, with its
 configuration in /etc/dialtone.
 .
 No phone can register until `dialtone user add` has made a user.
"
    )
}

/// The changelog, with the one entry that this version is; `time` is in seconds since 1970.
///
/// # Source
/// Debian Policy §4.4.
pub(super) fn changelog(version: &str, time: i64) -> Result<String> {
    let version = debian_version(version);
    let date = jiff::Timestamp::from_second(time)?.strftime("%a, %d %b %Y %H:%M:%S +0000");
    Ok(format!(
        "dialtone ({version}) stable; urgency=medium\n\n  * Version {version}: see CHANGELOG.md of the source.\n\n \
         -- {MAINTAINER}  {date}\n"
    ))
}

/// A version as Debian sorts it: what comes before a release (`1.2.3-rc.1`) is older than it.
///
/// # Source
/// Debian Policy §5.6.12: `~` sorts before everything, even the end.
pub(super) fn debian_version(version: &str) -> String {
    version.replacen('-', "~", 1).replace('-', ".")
}

const MAINTAINER: &str = "The dialtone authors <dialtone@example.org>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_before_its_release_is_older() {
        assert_eq!(debian_version("1.2.3"), "1.2.3");
        assert_eq!(debian_version("1.2.3-rc.1"), "1.2.3~rc.1");
        assert_eq!(debian_version("1.2.3-rc-1"), "1.2.3~rc.1");
    }

    #[test]
    fn the_changelog_has_the_time_of_the_commit() {
        let log = changelog("1.2.3", 1_000_000_000).unwrap();
        assert!(log.starts_with("dialtone (1.2.3) stable; urgency=medium\n\n  * "));
        assert!(
            log.ends_with("  Sun, 09 Sep 2001 01:46:40 +0000\n"),
            "{log}"
        );
    }

    #[test]
    fn sizes_are_in_kilobytes() {
        let control = control("1.2.3", "arm64", 1025);
        assert!(control.contains("Architecture: arm64\n"));
        assert!(control.contains("Installed-Size: 2\n"));
        assert!(control.ends_with(".\n"), "{control}");
    }
}
