//! An error in a log: sentences, with its causes.

use std::fmt;

use super::Error;

/// An error with what caused it, for a log: sentences, the latest first.
#[derive(Clone, Copy)]
pub(crate) struct InFull<'e>(&'e Error);

impl Error {
    /// The error with its causes, which only operators may read.
    pub(crate) fn in_full(&self) -> InFull<'_> {
        InFull(self)
    }
}

impl fmt::Display for InFull<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = std::error::Error::source(self.0);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
    use super::*;

    #[test]
    fn a_log_line_has_the_causes_in_words() {
        let inner = Error::new(ErrorKind::Parse, "the body is cut").caused_by("unexpected end");
        let error = Error::new(ErrorKind::Internal, "boom").with("server", "s").caused_by(inner);
        assert_eq!(error.in_full().to_string(), "boom (server: s): the body is cut: unexpected end");
    }
}
