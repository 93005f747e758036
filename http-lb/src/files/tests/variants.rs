//! Compressed variants: made, found beside the file, chosen, kept within the memory. Kind: driver.

use super::*;

/// Unpacks what was sent, by what it says itself.
#[track_caller]
fn unpacked(sent: &Sent) -> Vec<u8> {
    let (mut plain, packed) = (Vec::new(), sent.body.as_slice());
    let read = match sent.maybe("content-encoding") {
        Some("br") => brotli::Decompressor::new(packed, 4096).read_to_end(&mut plain),
        Some("zstd") => {
            zstd::stream::read::Decoder::new(packed).expect("it begins well").read_to_end(&mut plain)
        }
        Some("gzip") => flate2::read::GzDecoder::new(packed).read_to_end(&mut plain),
        _ => return sent.body.clone(),
    };
    read.expect("it can be unpacked");
    plain
}

#[test]
fn variants_are_made_and_chosen_and_each_has_its_own_tag() {
    let content = text(10_000);
    let shop = Shop::new(&[("a.js", &content), ("a.png", &content), ("tiny.js", b"x")], |terms| {
        terms.mounts[0].precompress = Coding::ALL.to_vec();
    });
    shop.compress();
    let mut tags = vec![shop.get("a.js").field("etag").to_owned()];
    for coding in Coding::ALL {
        let sent = shop.ask("a.js", accepting(coding.token()));
        assert_eq!(sent.maybe("content-encoding"), Some(coding.token()));
        assert_eq!((unpacked(&sent), sent.length), (content.clone(), Some(sent.body.len() as u64)));
        assert_eq!(sent.field("vary"), "Accept-Encoding");
        tags.push(sent.field("etag").to_owned());
    }
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 4);
    assert!(shop.ask("a.js", accepting("identity")).maybe("content-encoding").is_none());
    assert!(shop.ask("tiny.js", accepting("br")).maybe("content-encoding").is_none());
    let picture = shop.ask("a.png", accepting("br"));
    assert!(picture.maybe("content-encoding").is_none() && picture.maybe("vary").is_none());
}

#[test]
fn variants_do_not_outgrow_the_memory() {
    let content = text(10_000);
    let shop = Shop::new(&[("a.js", &content)], |terms| {
        terms.mounts[0].precompress = Coding::ALL.to_vec();
        terms.memory = 11_000;
    });
    shop.compress();
    assert_eq!(shop.site.mounts().served[0].tally().in_memory, 1);
    assert!(shop.site.mounts().served[0].bytes() < 12_000);
}

/// A sibling that was made of the file is taken; one that was not is left alone.
#[test]
fn variants_on_disk_are_taken_if_they_are_of_the_file() {
    let content = text(10_000);
    let packed = precompress::compress(&content, Coding::Gzip).expect("text shrinks");
    let other = precompress::compress(&text(9_999), Coding::Brotli).expect("text shrinks");
    let files = [("a.js", content.as_slice()), ("a.js.gz", packed.as_ref()), ("a.js.br", other.as_ref())];
    let shop = Shop::new(&files, |_| {});
    let gzip = shop.ask("a.js", accepting("gzip, br"));
    assert_eq!((gzip.maybe("content-encoding"), gzip.body.as_slice()), (Some("gzip"), packed.as_ref()));
    let itself = shop.get("a.js.gz");
    assert_eq!((itself.field("content-type"), itself.maybe("content-encoding")), ("application/gzip", None));
    let disk = Shop::new(&files, |terms| terms.mounts[0].preload = false);
    let gzip = disk.ask("a.js", accepting("gzip"));
    assert_eq!((gzip.maybe("content-encoding"), gzip.body.as_slice()), (Some("gzip"), packed.as_ref()));
    assert_eq!(disk.get("a.js").field("vary"), "Accept-Encoding");
}

#[test]
fn a_part_of_a_variant_is_a_part_of_that_variant() {
    let content = text(10_000);
    let packed = precompress::compress(&content, Coding::Gzip).expect("text shrinks");
    let shop = Shop::new(&[("a.js", &content), ("a.js.gz", &packed)], |_| {});
    let part = shop.ask("a.js", Wants { range: Some(b"bytes=2-5"), ..accepting("gzip") });
    assert_eq!(part.body, packed[2..6]);
    assert_eq!(part.field("content-range"), format!("bytes 2-5/{}", packed.len()));
    let plain = shop.get("a.js");
    let conditions = Conditions { if_range: Some(plain.field("etag").as_bytes()), ..Conditions::default() };
    let other = Wants { range: Some(b"bytes=2-5"), conditions, ..accepting("gzip") };
    assert_eq!(shop.ask("a.js", other).status, 200, "the client has the beginning of something else");
}

#[test]
fn other_terms_make_other_heads_of_the_same_variants() {
    let shop =
        Shop::new(&[("a.js", &text(10_000))], |terms| terms.mounts[0].precompress = vec![Coding::Gzip]);
    shop.compress();
    let mut terms = shop.site.mounts().terms.clone();
    terms.mounts[0].max_age = Duration::from_secs(7);
    terms.mounts[0].precompress.clear();
    let site = open(terms, Some(&shop.site));
    let sent = sent(site.answer(ASSETS, &accepting("gzip"), b"a.js", NOW));
    assert_eq!(
        (sent.maybe("content-encoding"), sent.field("cache-control")),
        (Some("gzip"), "public, max-age=7")
    );
}
