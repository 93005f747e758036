//! Result rows in text format, as far as monitoring needs them. Kind: pure.

use super::cursor::{Cursor, Malformed};
use super::frame::put;

/// One row: a text or NULL for each column.
pub type Row = Vec<Option<String>>;

/// Reads the body of a `DataRow`. Nothing is reserved by the declared count; each column is proven by its bytes.
pub fn data_row(body: &[u8]) -> Result<Row, Malformed> {
    let mut cursor = Cursor::new("DataRow", body);
    let mut row = Row::new();
    for _ in 0..cursor.count()? {
        row.push(text(&mut cursor)?);
    }
    cursor.end().map(|()| row)
}

fn text(cursor: &mut Cursor<'_>) -> Result<Option<String>, Malformed> {
    let Some(bytes) = cursor.value()? else { return Ok(None) };
    let text = std::str::from_utf8(bytes).map_err(|_| cursor.wrong("a value is not UTF-8"))?;
    Ok(Some(text.to_owned()))
}

/// Appends a `DataRow` of texts and NULLs.
pub fn put_data_row(out: &mut Vec<u8>, row: &[Option<&str>]) {
    put(out, b'D', |out| {
        let count = i16::try_from(row.len()).expect("a row of ours has few columns");
        out.extend_from_slice(&count.to_be_bytes());
        row.iter().for_each(|value| put_value(out, *value));
    });
}

fn put_value(out: &mut Vec<u8>, value: Option<&str>) {
    let len = value.map_or(-1, |text| i32::try_from(text.len()).expect("a value of ours is short"));
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value.unwrap_or_default().as_bytes());
}

/// Appends a `RowDescription` of text columns with these names.
pub fn put_row_description(out: &mut Vec<u8>, names: &[&str]) {
    put(out, b'T', |out| {
        let count = i16::try_from(names.len()).expect("a row of ours has few columns");
        out.extend_from_slice(&count.to_be_bytes());
        names.iter().for_each(|name| put_text_column(out, name));
    });
}

/// No table, no column number, type 25 (text), any width, no modifier, text format.
fn put_text_column(out: &mut Vec<u8>, name: &str) {
    super::frame::put_cstr(out, name.as_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
}

/// Fuzz entry: any bytes as a row.
pub fn fuzz_data_row(data: &[u8]) {
    if let Ok(row) = data_row(data) {
        let mut out = Vec::new();
        put_data_row(&mut out, &row.iter().map(Option::as_deref).collect::<Vec<_>>());
        assert_eq!(&out[super::frame::HEADER..], data, "decode and encode disagree");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::split;
    use proptest::prelude::*;

    fn check(body: &[u8], want: Result<Row, &str>) {
        assert_eq!(data_row(body).map_err(|e| e.what), want, "{body:?}");
    }

    #[test]
    fn rows_are_texts_and_nulls() {
        check(b"\0\0", Ok(vec![]));
        check(b"\0\x02\0\0\0\x01t\xff\xff\xff\xff", Ok(vec![Some("t".into()), None]));
    }

    #[test]
    fn lying_counts_and_lengths_are_refused() {
        check(b"", Err("it ends too early"));
        check(b"\xff\xff", Err("a count is negative"));
        check(b"\x7f\xff", Err("it ends too early"));
        check(b"\0\x01\0\0\0\x05t", Err("it ends too early"));
        check(b"\0\x01\xff\xff\xff\xfe", Err("a length is negative"));
        check(b"\0\0x", Err("it goes on after its end"));
    }

    #[test]
    fn the_corpus_holds() {
        let corpus: [&[u8]; 4] = [b"", b"\0\0", b"\0\x01\0\0\0\x01t", b"\0\x02\xff\xff\xff\xff"];
        corpus.into_iter().for_each(fuzz_data_row);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(row in proptest::collection::vec(proptest::option::of(".{0,12}"), 0..8)) {
            let mut out = Vec::new();
            put_data_row(&mut out, &row.iter().map(Option::as_deref).collect::<Vec<_>>());
            let (message, _) = split(&out).unwrap().unwrap();
            prop_assert_eq!(data_row(message.body), Ok(row));
        }

        #[test]
        fn any_body_is_survived(data in proptest::collection::vec(any::<u8>(), 0..60)) {
            fuzz_data_row(&data);
        }
    }
}
