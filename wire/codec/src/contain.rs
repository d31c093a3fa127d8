//! A codec that panics must not end the calls of a whole thread.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Error;

#[cfg(panic = "abort")]
compile_error!("a damaged packet could end every call: panics of codecs must unwind");

/// Runs `call` and turns a panic in it into an error. Whatever `call` had in its hands is of no
/// more use then.
pub(crate) fn contain<T>(call: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Error::Failed)
}

/// A codec of others, dropped at its first panic.
pub(crate) struct Contained<T>(Option<Box<T>>);

impl<T> Contained<T> {
    /// Takes in what `make` makes.
    pub(crate) fn new(make: impl FnOnce() -> Result<T, Error>) -> Result<Self, Error> {
        contain(make)?.map(|codec| Self(Some(Box::new(codec))))
    }

    /// Runs `call` on the codec.
    pub(crate) fn run<R>(&mut self, call: impl FnOnce(&mut T) -> R) -> Result<R, Error> {
        let codec = self.0.as_mut().ok_or(Error::Failed)?;
        let result = contain(|| call(codec));
        if result.is_err() {
            self.0 = None;
        }
        result
    }
}

impl<T> fmt::Debug for Contained<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<T>())
    }
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

    #[test]
    fn after_a_panic_there_is_no_codec() {
        let mut codec = Contained::new(|| Ok(vec![1])).unwrap();
        assert_eq!(codec.run(|v| v[0]), Ok(1));
        assert_eq!(codec.run(|v| v[1]), Err(Error::Failed));
        assert_eq!(codec.run(|v| v[0]), Err(Error::Failed));
    }
}
