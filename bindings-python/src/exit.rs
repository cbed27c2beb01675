//! How a `with` block ended.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// How a `with` block ended, by the type of what was raised in it.
pub(crate) enum Exit {
    /// Nothing was raised.
    Ended,
    /// An exception: a failure of what the block was about.
    Failed,
    /// What only ends the program, or cancels the task: it says nothing of what the block was about.
    Cut,
}

impl Exit {
    pub(crate) fn of(py: Python<'_>, raised: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(raised) = raised else { return Ok(Self::Ended) };
        let is_failure = raised.cast::<PyType>()?.is_subclass(&py.get_type::<PyException>())?;
        Ok(if is_failure { Self::Failed } else { Self::Cut })
    }
}
