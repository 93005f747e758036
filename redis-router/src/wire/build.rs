//! The messages that the router writes itself. Kind: pure.
//!
//! Everything is appended to a `Vec<u8>`. A line can't be broken by what it says: CR and LF in a text become spaces.

use proxy_core::decimal::put_decimal;

/// The protocol version that a connection speaks, which `HELLO` chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub enum Resp {
    /// RESP2, in which every connection begins.
    #[default]
    V2,
    /// RESP3.
    V3,
}

/// `+text`.
pub fn put_simple(out: &mut Vec<u8>, text: &str) {
    put_line(out, b'+', text.as_bytes());
}

/// `-text`; the text begins with its code: `ERR …`, `LOADING …`.
pub fn put_error(out: &mut Vec<u8>, text: &str) {
    put_line(out, b'-', text.as_bytes());
}

/// A bulk string.
pub fn put_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    put_header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Nothing: `_`, in RESP2 `$-1`.
pub fn put_null(out: &mut Vec<u8>, resp: Resp) {
    out.extend_from_slice(match resp {
        Resp::V2 => b"$-1\r\n",
        Resp::V3 => b"_\r\n",
    });
}

/// No array, as of an `EXEC` that was aborted: `_`, in RESP2 `*-1`.
pub fn put_null_array(out: &mut Vec<u8>, resp: Resp) {
    out.extend_from_slice(match resp {
        Resp::V2 => b"*-1\r\n",
        Resp::V3 => b"_\r\n",
    });
}

/// `:value`.
pub fn put_integer(out: &mut Vec<u8>, value: i64) {
    out.push(b':');
    if value < 0 {
        out.push(b'-');
    }
    put_decimal(out, value.unsigned_abs());
    out.extend_from_slice(b"\r\n");
}

/// The beginning of an array of `len` elements.
pub fn put_array_header(out: &mut Vec<u8>, len: usize) {
    put_header(out, b'*', len);
}

/// The beginning of a map of `len` pairs; in RESP2, which has none, of an array of twice as many elements.
pub fn put_map_header(out: &mut Vec<u8>, len: usize, resp: Resp) {
    match resp {
        Resp::V2 => put_header(out, b'*', len.saturating_mul(2)),
        Resp::V3 => put_header(out, b'%', len),
    }
}

/// A request of these arguments.
pub fn put_request(out: &mut Vec<u8>, args: &[&[u8]]) {
    put_array_header(out, args.len());
    args.iter().for_each(|arg| put_bulk(out, arg));
}

fn put_line(out: &mut Vec<u8>, tag: u8, text: &[u8]) {
    out.push(tag);
    out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

fn put_header(out: &mut Vec<u8>, tag: u8, len: usize) {
    out.push(tag);
    put_decimal(out, len as u64);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(put: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = b"before ".to_vec();
        put(&mut out);
        assert_eq!(String::from_utf8_lossy(&out[7..]), expected);
    }

    #[test]
    fn messages_look_like_the_specification() {
        check(|out| put_simple(out, "OK"), "+OK\r\n");
        check(|out| put_error(out, "ERR no"), "-ERR no\r\n");
        check(|out| put_bulk(out, b""), "$0\r\n\r\n");
        check(|out| put_bulk(out, b"a\r\nb"), "$4\r\na\r\nb\r\n");
        check(|out| put_integer(out, 0), ":0\r\n");
        check(|out| put_integer(out, i64::MAX), ":9223372036854775807\r\n");
        check(|out| put_integer(out, i64::MIN), ":-9223372036854775808\r\n");
        check(|out| put_array_header(out, 12), "*12\r\n");
        check(|out| put_request(out, &[b"GET", b"key"]), "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    }

    #[test]
    fn each_version_has_its_own_nulls_maps_and_pushes() {
        check(|out| put_null(out, Resp::V2), "$-1\r\n");
        check(|out| put_null(out, Resp::V3), "_\r\n");
        check(|out| put_null_array(out, Resp::V2), "*-1\r\n");
        check(|out| put_null_array(out, Resp::V3), "_\r\n");
        check(|out| put_map_header(out, 3, Resp::V2), "*6\r\n");
        check(|out| put_map_header(out, 3, Resp::V3), "%3\r\n");
    }

    #[test]
    fn a_text_cannot_break_its_line() {
        check(|out| put_error(out, "ERR a\r\n+OK\r\n"), "-ERR a  +OK  \r\n");
        check(|out| put_simple(out, "a\nb"), "+a b\r\n");
    }
}
