//! Tokens made by others, tokens made by us, and tokens that somebody has meddled with.
#![allow(clippy::unwrap_used, reason = "a test")]

use base64ct::{Base64UrlUnpadded, Encoding as _};
use stir::{Attest, Call, Certificate, Fault, Identity, PublicKey, Signer, SigningKey, TnAuthList};

/// The key whose number is 0x0707…07, in both forms.
const PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBwcHBwcHBwcHBwcH
BwcHBwcHBwcHBwcHBwcHBwcHBwehRANCAAQeGFMv1HVMAvMEHZx1zrM7g//YGsfO
T+iCzLHJi8WJbqRsMRxOL/QN2Wo2U+bkVEXTLf5Ibs7XXHqQxqGIgcCj
-----END PRIVATE KEY-----
";
const SEC1: &str = "-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHoAoGCCqGSM49
AwEHoUQDQgAEHhhTL9R1TALzBB2cdc6zO4P/2BrHzk/ogsyxyYvFiW6kbDEcTi/0
DdlqNlPm5FRF0y3+SG7O11x6kMahiIHAow==
-----END EC PRIVATE KEY-----
";

/// Made with PyJWT 2.15.1 and cryptography 50.0.2 from that key; the claims are those of RFC 8588 §5.
const SHAKEN_BY_PYJWT: &str = "eyJhbGciOiJFUzI1NiIsInBwdCI6InNoYWtlbiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9.eyJhdHRlc3QiOiJBIiwiZGVzdCI6eyJ0biI6WyIxMjE1NTU1MDEzMSJdfSwiaWF0IjoxNDQzMjA4MzQ1LCJvcmlnIjp7InRuIjoiMTIxNTU1NTAxMjEifSwib3JpZ2lkIjoiMTIzZTQ1NjctZTg5Yi0xMmQzLWE0NTYtNDI2NjU1NDQwMDAwIn0.PQ--V8CbMe7PdlAg53Iwf2ZO9yrFvU-zdl9bNacikSLNnpM4PGh9mwnUnJ5lXD2liY_RLwAbpwQQY5McgUOQUw";
const PLAIN_BY_PYJWT: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9.eyJkZXN0Ijp7InRuIjpbIjEyMTU1NTUwMTMxIl19LCJpYXQiOjE0NDMyMDgzNDUsIm9yaWciOnsidG4iOiIxMjE1NTU1MDEyMSJ9fQ.I_G8n4gmRjom9j_4wZJosn0Hi7eLwuOAK2pcCkA1_EL0xjColWqVeGY8lp7R4dYwerLseFAOFxveCsJsCFKdZA";

/// Our signature of the first of them.
const SIGNED_FOR_PYJWT: &str =
    "2ObdKdRm6ey6HPcz_By2Z75Pa2pu_xkwJmyxgio3R5hC9uzd6zU5jWcsaEykl-l4adQLezwFFFcHfvNlmr33Pw";

const URL: &str = "https://cert.example.org/passport.cer";
const ORIGID: &str = "123e4567-e89b-12d3-a456-426655440000";
const SIGNED_AT: u64 = 1_443_208_345;

fn key() -> SigningKey {
    SigningKey::from_pem(PKCS8).unwrap()
}

fn call() -> Call {
    Call {
        orig: "12155550121".into(),
        dest: "12155550131".into(),
    }
}

fn shaken() -> String {
    format!("{SHAKEN_BY_PYJWT};info=<{URL}>;alg=ES256;ppt=\"shaken\"")
}

/// The header field's value with one part of its token replaced.
fn with_part(index: usize, part: &str) -> String {
    let mut parts: Vec<_> = SHAKEN_BY_PYJWT.split('.').collect();
    parts[index] = part;
    format!("{};info=<{URL}>;ppt=shaken", parts.join("."))
}

fn examine(value: &str) -> Result<stir::Claim, Fault> {
    Identity::parse(value)?.examine(&call(), SIGNED_AT, None)
}

#[test]
fn keys_come_in_two_forms() {
    assert_eq!(SigningKey::from_pem(SEC1).unwrap(), key());
    assert!(SigningKey::from_pem("nothing").is_err());
    assert!(SigningKey::from_pem(&PKCS8[..60]).is_err());
    assert!(PublicKey::from_point(&[4; 65]).is_err());
}

#[test]
fn rfc8588_5_a_token_of_another_implementation_is_verified() {
    let claim = examine(&shaken()).unwrap();
    assert_eq!(claim.url(), URL);
    let passport = claim.verify(&key().public()).unwrap();
    assert_eq!(passport.attest, Some(Attest::Full));
    assert_eq!(passport.origid, ORIGID);
}

#[test]
fn rfc8225_9_our_token_is_in_canonical_form() {
    let signer = Signer::new(key(), URL, Attest::Full, ORIGID);
    let value = signer.sign(&call(), SIGNED_AT);
    let token = value.split(';').next().unwrap();
    let signed = |token: &str| token.rsplit_once('.').unwrap().0.to_owned();
    assert_eq!(signed(token), signed(SHAKEN_BY_PYJWT), "octet by octet");
    // The signature of RFC 6979 is always the same; PyJWT verifies this one.
    assert!(token.ends_with(SIGNED_FOR_PYJWT));
    let claims = Base64UrlUnpadded::decode_vec(token.split('.').nth(1).unwrap()).unwrap();
    assert_eq!(
        String::from_utf8(claims).unwrap(),
        r#"{"attest":"A","dest":{"tn":["12155550131"]},"iat":1443208345,"orig":{"tn":"12155550121"},"origid":"123e4567-e89b-12d3-a456-426655440000"}"#
    );
    assert!(examine(&value).unwrap().verify(&key().public()).is_ok());
}

#[test]
fn rfc8225_appendix_a_the_header_is_serialised_like_the_example() {
    // {"alg":"ES256","typ":"passport","x5u":"https://cert.example.org/passport.cer"}
    let example = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9j\
                   ZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9";
    assert_eq!(PLAIN_BY_PYJWT.split('.').next(), Some(example));
}

#[test]
fn rfc8224_4_1_2_what_the_compact_form_leaves_out_is_in_the_request() {
    let signature = PLAIN_BY_PYJWT.rsplit('.').next().unwrap();
    let value = format!("..{signature};info=<{URL}>");
    let identity = Identity::parse(&value).unwrap();
    let claim = identity.examine(&call(), SIGNED_AT + 5, Some(SIGNED_AT));
    assert!(claim.unwrap().verify(&key().public()).is_ok());
    let other = Call {
        orig: "12155550122".into(),
        ..call()
    };
    let claim = identity
        .examine(&other, SIGNED_AT, Some(SIGNED_AT))
        .unwrap();
    assert_eq!(claim.verify(&key().public()), Err(Fault::Forged));
    assert_eq!(
        identity.examine(&call(), SIGNED_AT, None),
        Err(Fault::Stale)
    );
}

#[test]
fn rfc8224_6_2_4_a_token_is_good_for_a_minute() {
    let value = shaken();
    let identity = Identity::parse(&value).unwrap();
    for (now, date, fine) in [
        (SIGNED_AT + 60, None, true),
        (SIGNED_AT - 60, None, true),
        (SIGNED_AT + 61, None, false),
        (SIGNED_AT - 61, None, false),
        (SIGNED_AT, Some(SIGNED_AT - 61), false),
        (SIGNED_AT, Some(SIGNED_AT + 60), true),
    ] {
        let claim = identity.examine(&call(), now, date);
        assert_eq!(claim.is_ok(), fine, "{now} {date:?}");
        assert!(fine || claim == Err(Fault::Stale));
    }
}

#[test]
fn rfc8224_6_2_2_each_fault_has_its_status() {
    let value = shaken();
    let identity = Identity::parse(&value).unwrap();
    let other = Call {
        dest: "12155550199".into(),
        ..call()
    };
    let fault = identity.examine(&other, SIGNED_AT, None).unwrap_err();
    assert_eq!((fault, fault.status().0), (Fault::OtherCall, 438));
    let statuses = [
        (Fault::Absent, 428),
        (Fault::Unreachable, 436),
        (Fault::Untrusted, 437),
        (Fault::Forged, 438),
        (Fault::Stale, 403),
    ];
    for (fault, status) in statuses {
        assert_eq!(fault.status().0, status);
        assert!(!fault.phrase().is_empty());
    }
}

#[test]
fn whatever_is_changed_is_noticed() {
    let forger = SigningKey::from_pem(
        &p256::SecretKey::from_slice(&[8; 32])
            .unwrap()
            .to_sec1_pem(Default::default())
            .unwrap(),
    )
    .unwrap();
    let forged = Signer::new(forger, URL, Attest::Full, ORIGID).sign(&call(), SIGNED_AT);
    let claim = examine(&forged).unwrap();
    assert_eq!(claim.verify(&key().public()), Err(Fault::Forged));
    // A gateway's word is turned into a full one.
    let claims = format!(
        r#"{{"attest":"C","dest":{{"tn":["12155550131"]}},"iat":{SIGNED_AT},"orig":{{"tn":"12155550121"}},"origid":"x"}}"#
    );
    let claims = Base64UrlUnpadded::encode_string(claims.as_bytes());
    let claim = examine(&with_part(1, &claims)).unwrap();
    assert_eq!(claim.verify(&key().public()), Err(Fault::Forged));
    let moved = shaken().replace(URL, "https://evil.example/cert.pem");
    assert_eq!(examine(&moved), Err(Fault::Malformed));
}

#[test]
fn what_is_malformed_is_refused() {
    let long = "A".repeat(10_000);
    for value in [
        "",
        ";",
        "a.b.c",
        "a.b.c;info=https://x",
        "a.b.c;info=<https://x",
        "a.b.c;info=\"x",
        "a.b;info=<https://x>",
        "a.b.c.d;info=<https://x>",
        "..;info=<https://x>;ppt=shaken",
        "a.b.c;info=<https://x>;alg=none",
        &with_part(0, "e30"),
        &with_part(1, "e30"),
        &with_part(1, "W10"),
        &with_part(1, "!!!"),
        &with_part(2, "!!!"),
        &with_part(2, &long),
    ] {
        assert_eq!(examine(value).unwrap_err(), Fault::Malformed, "{value}");
    }
    let claim = examine(&with_part(2, "AAAA")).unwrap();
    assert_eq!(claim.verify(&key().public()), Err(Fault::Forged));
}

#[test]
fn rfc8226_9_a_certificate_vouches_for_its_numbers_in_its_time() {
    let claim = examine(&shaken()).unwrap();
    let certificate = Certificate {
        key: key().public(),
        not_before: SIGNED_AT,
        not_after: SIGNED_AT + 10,
        authority: None,
    };
    let verify = |certificate: &Certificate, now| claim.verify_with(certificate, now).err();
    assert_eq!(verify(&certificate, SIGNED_AT), None);
    assert_eq!(verify(&certificate, SIGNED_AT + 11), Some(Fault::Untrusted));
    assert_eq!(verify(&certificate, SIGNED_AT - 1), Some(Fault::Untrusted));
    let numbers = vec!["12155550199".to_owned()];
    let elsewhere = Certificate {
        authority: Some(TnAuthList {
            numbers,
            ..TnAuthList::default()
        }),
        ..certificate
    };
    assert_eq!(verify(&elsewhere, SIGNED_AT), Some(Fault::Untrusted));
}
