//! What must hold for any bytes. Each target checks a codec against another reading of the same input.

mod edge;
mod envelope;
mod events;
mod lines;
mod places;

pub(crate) use edge::header;
pub(crate) use envelope::envelope;
pub(crate) use events::sse;
pub(crate) use lines::lines;
pub(crate) use places::url;
