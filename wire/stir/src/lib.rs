//! STIR/SHAKEN: callers' numbers that are signed by whoever vouches for them.
//!
//! ```
//! use stir::{Attest, Call, Identity, SigningKey, Signer};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pem = p256::SecretKey::from_slice(&[7; 32])?.to_sec1_pem(Default::default())?.to_string();
//! let key = SigningKey::from_pem(&pem)?;
//! let signer = Signer::new(key.clone(), "https://cert.example/shaken.pem", Attest::Full, "1-2-3");
//! let call = Call { orig: "12155550112".into(), dest: "12155550113".into() };
//! let header = signer.sign(&call, 1_600_000_000);
//!
//! let identity = Identity::parse(&header)?;
//! let claim = identity.examine(&call, 1_600_000_010, None)?;
//! assert_eq!(claim.url(), "https://cert.example/shaken.pem");
//! assert_eq!(claim.verify(&key.public())?.attest, Some(Attest::Full));
//! # Ok(())
//! # }
//! ```
//!
//! - [`Identity`] (`identity`): the header field.
//! - [`Passport`] and [`Signer`] (`passport`, `signer`): the token in it, and how it is made.
//! - [`Claim`] (`claim`): a token against the call that it came with.
//! - [`Certificate`], [`TnAuthList`] (`certificate`, `authority`): who may vouch for which numbers.
//! - [`SigningKey`], [`PublicKey`] (`key`): ES256.
//! - [`number`], [`date`]: numbers and dates as they are compared.
//!
//! It fetches nothing and trusts nobody: the certificate of the claim's URL is somebody else's to get
//! and to check against the roots.
//!
//! # Source
//! RFC 8224, RFC 8225, RFC 8226, RFC 8588.

mod authority;
mod certificate;
mod claim;
pub mod date;
mod fault;
mod identity;
mod key;
pub mod number;
mod passport;
mod signer;

pub use authority::TnAuthList;
pub use certificate::Certificate;
pub use claim::Claim;
pub use fault::Fault;
pub use identity::Identity;
pub use key::{KeyError, PublicKey, SigningKey};
pub use passport::{Attest, Passport};
pub use signer::Signer;

/// The numbers of a call, in canonical form ([`number::canonical`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who calls.
    pub orig: String,
    /// Who is called.
    pub dest: String,
}
