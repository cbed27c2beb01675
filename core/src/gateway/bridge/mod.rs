//! Between the two eras: what lets a client of one reach a server of the other. The way from a legacy client to a
//! modern server is `upstream/legacy_adapter`; two legacy peers never come here.

pub(super) mod modern_to_modern;
pub(super) mod modern_to_legacy;
