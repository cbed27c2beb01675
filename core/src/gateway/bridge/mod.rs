//! Between the two eras: what lets a client of one reach a server of the other. Each pair has rooms of its own, and two of
//! the same era never come here.

pub(super) mod upward;
