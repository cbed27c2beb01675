//! The bridge between the two eras: it lets a client of one reach a server of the other. The path from a legacy client to a
//! modern server is `upstream/legacy_adapter`; two legacy peers never come here.

pub(super) mod modern_to_modern;
pub(super) mod modern_to_legacy;
