//! Between the two eras: what lets a client of one reach a server of the other. Each pair has rooms of its own; two legacy
//! ones never come here.

pub(super) mod across;
pub(super) mod upward;
