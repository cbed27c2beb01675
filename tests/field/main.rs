//! The field: servers, clients and files as they are. One file a kind, one row a case: an upstream's script, and the answers
//! that a client must see on `/mcp` and on `/mcp/NAME`.
//!
//! Each file starts one gateway and gives it a server for each case and each transport that the case names, beside a good
//! neighbour that must be served in every case. A row is added by one entry of the file's table; see [`case::Case`].
#![expect(clippy::expect_used, reason = "a panic in a test is a failed test")]

mod a_parts;
mod b_names;
mod c_limits;
mod case;
mod d_reasons;
mod d_wire;
mod e_tolerance;
mod f_configuration;
mod f_files;
mod g_prefix;
mod official;
