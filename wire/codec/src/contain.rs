//! A codec that panics must not end the calls of a whole thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Error;

#[cfg(panic = "abort")]
compile_error!("a damaged packet could end every call: panics of codecs must unwind");

/// Runs `call` and turns a panic in it into an error. Whatever `call` had in its hands is of no
/// more use then.
pub(crate) fn contain<T>(call: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Error::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        assert_eq!(contain(|| 7), Ok(7));
        let empty: [u8; 0] = [];
        let index = std::hint::black_box(3);
        assert_eq!(contain(|| empty[index]), Err(Error::Failed));
    }
}
