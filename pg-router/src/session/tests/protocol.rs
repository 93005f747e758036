//! Copies, pipelines, pieces and nonsense: what the bytes themselves may be. Kind: pure.

use proptest::prelude::*;

use super::*;

#[test]
fn copy_in_by_the_extended_protocol_owes_one_ready() {
    let mut copy_in = Vec::new();
    frame::put(&mut copy_in, b'G', |out| out.extend_from_slice(b"\0\0\0"));
    let mut data = Vec::new();
    frame::put(&mut data, b'd', |out| out.extend_from_slice(b"1\n"));
    frame::put(&mut data, b'c', |_| {});
    let mut talk = talk();
    talk.client(&extended("copy t from stdin")).server(&copy_in);
    talk.client(&data).client(&frontend::SYNC).server(&done("COPY 1", Status::Idle));
    assert!(talk.server.is_none());
    assert_eq!(talk.heard(), "G COPY-1 ready:I");
}

#[test]
fn copy_data_behind_the_end_of_its_copy_is_dropped() {
    let mut data = Vec::new();
    frame::put(&mut data, b'd', |out| out.extend_from_slice(&[0; 100]));
    let mut talk = talk();
    talk.client(&data[..50]).client(&data[50..]).client(&query("select 1"));
    assert_eq!(talk.to_server, query("select 1"));
}

#[test]
fn hostile_lengths_end_the_session() {
    for bytes in
        [&b"Q\0\0\0\x03"[..], b"Q\xff\xff\xff\xff", b"S\0\xff\xff\xff", b"p\0\0\0\x04", b"?\0\0\0\x04"]
    {
        let mut talk = talk();
        assert_eq!(talk.client(bytes).outcome, Then::Close(Ending::Protocol), "{bytes:?}");
        assert_eq!(talk.heard(), "error:08P01");
    }
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_makes_the_same_conversation(cuts in prop::collection::vec(0usize..200, 0..8)) {
        let said = [query("begin"), extended("select 1"), query(INSERT), extended("commit")].concat();
        let answers = [done("BEGIN", Status::Transaction), done("SELECT 1", Status::Transaction),
            done("INSERT 0 1", Status::Transaction), done("COMMIT", Status::Idle)].concat();
        let mut talk = talk();
        pieces(&said, &cuts).for_each(|piece| _ = talk.client(piece));
        prop_assert_eq!(&talk.to_server, &said);
        pieces(&answers, &cuts).for_each(|piece| _ = talk.server(piece));
        prop_assert_eq!(talk.heard(), "BEGIN ready:T SELECT-1 ready:T INSERT-0-1 ready:T COMMIT ready:I");
        prop_assert!(talk.server.is_none());
    }
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    let ends = at.clone().into_iter().skip(1);
    at.into_iter().zip(ends).map(|(from, to)| &bytes[from..to]).collect::<Vec<_>>().into_iter()
}

#[test]
fn a_flush_owes_nothing() {
    let mut talk = talk();
    talk.client(&[query("select 1"), b"H\0\0\0\x04".to_vec()].concat());
    talk.server(&done("SELECT 1", Status::Idle));
    assert!(talk.server.is_none());
}
