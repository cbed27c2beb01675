//! The codes of errors that a server answers a modern client with.
//!
//! The protocol reserves -32768 to -32000, and a modern client draws conclusions from the codes that its revision defines there. A
//! server's own code in that range, or one of an older revision, would mean something to it that the server does not mean.

use std::ops::RangeInclusive;

use crate::error::ErrorKind;
use crate::rpc::envelope::quote;
use crate::rpc::object::text;
use crate::rpc::{Edit, Members};

const RESERVED: RangeInclusive<i32> = -32768..=-32000;
/// The codes of that range that a server of the modern era may answer with.
const DEFINED: [i32; 8] = [-32700, -32603, -32602, -32601, -32600, -32022, -32021, -32020];

/// The error of a server as a modern client gets it.
#[derive(Debug, PartialEq)]
pub(super) struct Recoded {
    pub(super) code: i32,
    /// The raw error; `None`: as it came.
    pub(super) error: Option<String>,
}

/// A server's raw error as a modern client gets it: with the code of an internal error, and its own in `data.upstream_code`, if it
/// has a code that the revision does not define, or none.
pub(super) fn recode(raw: &str) -> Recoded {
    let internal = ErrorKind::Internal.row().rpc;
    let Ok(mut edit) = Edit::of(raw) else {
        let error = format!(
            r#"{{"code":{internal},"message":"the server answered with an error that cannot be read"}}"#
        );
        return Recoded { code: internal, error: Some(error) };
    };
    let code = edit.members().get("code");
    let speaks = edit.members().get("message").is_some_and(|message| text(message).is_some());
    if let Some(code) = code.and_then(|code| code.parse().ok()).filter(|code| is_free(*code)) {
        if speaks {
            return Recoded { code, error: None };
        }
        edit.set("message", quote("the server gave no message"));
        return Recoded { code, error: Some(edit.apply()) };
    }
    let (data, own) = (edit.members().get("data"), code.unwrap_or("null"));
    let data = match data.map(|data| (data, Edit::of(data))) {
        Some((_, Ok(mut data))) => {
            data.set("upstream_code", own);
            data.apply()
        }
        Some((data, Err(_))) if data != "null" => {
            format!(r#"{{"upstream_code":{own},"upstream_data":{data}}}"#)
        }
        _ => format!(r#"{{"upstream_code":{own}}}"#),
    };
    edit.set("code", internal.to_string()).set("data", data);
    if !speaks {
        edit.set("message", quote("the server gave no message"));
    }
    Recoded { code: internal, error: Some(edit.apply()) }
}

/// Whether a modern client may get this code from a server.
fn is_free(code: i32) -> bool {
    DEFINED.contains(&code) || !RESERVED.contains(&code)
}

/// Whether an error has `code`, however that is written.
pub(super) fn is(raw: &str, code: i32) -> bool {
    let found = Members::parse(raw).ok().and_then(|error| error.get("code")?.parse::<f64>().ok());
    found == Some(f64::from(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recoded(raw: &str) -> (i32, String) {
        let Recoded { code, error } = recode(raw);
        (code, error.unwrap_or_else(|| raw.to_owned()))
    }

    /// X-18: a code that the protocol reserves, and this revision does not define, is the server's own business.
    #[test]
    fn a_reserved_code_becomes_an_internal_error_that_names_it() {
        for own in [
            "-32000", "-32001", "-32002", "-32003", "-32042", "-32050", "-32099", "-32100", "-32768",
            "-32604", "-32023",
        ] {
            let (code, error) = recoded(&format!(r#"{{"code":{own},"message":"m"}}"#));
            assert_eq!(code, -32603, "{own}");
            assert_eq!(error, format!(r#"{{"code":-32603,"message":"m","data":{{"upstream_code":{own}}}}}"#));
        }
        for own in [-32700, -32600, -32601, -32602, -32603, -32020, -32021, -32022, -31999, -32769, 0, 1, 404]
        {
            let raw = format!(r#"{{"code":{own},"message":"m","data":[1]}}"#);
            assert_eq!(recoded(&raw), (own, raw.clone()), "{own}");
        }
    }

    #[test]
    fn the_rest_of_the_error_stays_and_what_is_no_code_is_told_as_it_came() {
        for (raw, error) in [
            (
                r#"{"code":-32050,"message":"m","data":{"a":1.0}, "x":1}"#,
                r#"{"code":-32603,"message":"m","data":{"a":1.0,"upstream_code":-32050}, "x":1}"#,
            ),
            (
                r#"{"code":-32050,"message":"m","data":[1]}"#,
                r#"{"code":-32603,"message":"m","data":{"upstream_code":-32050,"upstream_data":[1]}}"#,
            ),
            (
                r#"{"code":"E1","message":"m"}"#,
                r#"{"code":-32603,"message":"m","data":{"upstream_code":"E1"}}"#,
            ),
            (
                r#"{"code":-32050.0,"message":"m"}"#,
                r#"{"code":-32603,"message":"m","data":{"upstream_code":-32050.0}}"#,
            ),
            (
                r#"{"message":"m","data":null}"#,
                r#"{"message":"m","data":{"upstream_code":null},"code":-32603}"#,
            ),
            (r#"{"code":7}"#, r#"{"code":7,"message":"the server gave no message"}"#),
            (
                r#""broken""#,
                r#"{"code":-32603,"message":"the server answered with an error that cannot be read"}"#,
            ),
            (
                r#"{"code":-32602,"code":-32050,"message":"m"}"#,
                r#"{"code":-32603,"message":"the server answered with an error that cannot be read"}"#,
            ),
        ] {
            assert_eq!(recoded(raw).1, error, "{raw}");
        }
    }

    #[test]
    fn a_code_is_found_however_it_is_written() {
        for raw in [r#"{"code":-32002}"#, r#"{"code":-32002.0}"#, r#"{"code":-3.2002e4}"#] {
            assert!(is(raw, -32002), "{raw}");
        }
        assert!(!is(r#"{"code":"-32002"}"#, -32002) && !is("{}", 0));
    }
}
