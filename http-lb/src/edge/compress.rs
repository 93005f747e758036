//! Compression on the fly: whether, how, and the work itself. Kind: pure.
//!
//! What is encoded already is left alone, as is what says `no-transform` (RFC 9111 5.2.2.6), what is part of a whole,
//! and what is not known to shrink.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use crate::config::{Algorithm, Compression};
use crate::wire::accept::weighted;
use crate::wire::{Method, Name, RequestHead, ResponseHead};

use super::forward::Coding;

/// zstd: more than 8 MiB back is not looked at by decoders for the web (RFC 9659).
const ZSTD_WINDOW: u32 = 23;
const BROTLI_WINDOW: u32 = 19;
const BROTLI_BUFFER: usize = 4096;

/// When and how.
#[derive(Debug, Clone)]
pub struct Terms {
    offered: Vec<Algorithm>,
    types: Vec<Box<[u8]>>,
    min_size: u64,
    levels: Levels,
    over_tls: bool,
}

/// How hard each tries.
#[derive(Debug, Clone, Copy)]
struct Levels {
    gzip: u32,
    brotli: u32,
    zstd: i32,
}

impl Terms {
    /// As configured.
    pub fn new(config: &Compression) -> Self {
        let lower = |text: &String| text.to_ascii_lowercase().into_bytes().into_boxed_slice();
        Self {
            offered: config.algorithms.clone(),
            types: config.types.iter().map(lower).collect(),
            min_size: config.min_size.bytes(),
            levels: Levels { gzip: config.gzip_level, brotli: config.brotli_level, zstd: config.zstd_level },
            over_tls: config.over_tls,
        }
    }

    /// What becomes of an answer whose body has this length, if that is known.
    pub fn coding(
        &self,
        request: &RequestHead,
        answer: &ResponseHead,
        length: Option<u64>,
        tls: bool,
    ) -> Coding {
        let wanted = !self.offered.is_empty() && (self.over_tls || !tls);
        if !wanted || length.is_some_and(|length| length < self.min_size) || !self.is_fit(answer) {
            return Coding::AsItIs;
        }
        // A HEAD has no body to compress, but would have had (RFC 9110 9.3.2): the same fields but the length.
        match self.agreed(request.known(Name::AcceptEncoding)) {
            Some(_) if request.method() == Method::Head => Coding::Varies,
            Some(algorithm) => Coding::With(algorithm),
            None => Coding::Varies,
        }
    }

    /// The client's favourite; ours where it has none. In one walk through its list: `quality` of each coding would take
    /// as many.
    fn agreed(&self, accept_encoding: Option<&[u8]>) -> Option<Algorithm> {
        const UNNAMED: Option<u16> = None;
        let (mut named, mut identity, mut any) = ([UNNAMED; 3], None, None);
        for (name, weight) in weighted(accept_encoding?) {
            let name = name.strip_prefix(b"x-").unwrap_or(name);
            let place =
                self.offered.iter().position(|known| name.eq_ignore_ascii_case(known.name().as_bytes()));
            let slot = match place {
                Some(place) => named.get_mut(place),
                None if name == b"*" => Some(&mut any),
                None if name.eq_ignore_ascii_case(b"identity") => Some(&mut identity),
                None => None,
            };
            slot.into_iter().for_each(|slot| *slot = (*slot).max(Some(weight)));
        }
        let weights =
            self.offered.iter().zip(named).map(|(known, weight)| (*known, weight.or(any).unwrap_or(0)));
        let best = weights.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        (best.1 > 0 && best.1 >= identity.unwrap_or(0)).then_some(best.0)
    }

    fn is_fit(&self, answer: &ResponseHead) -> bool {
        let whole = matches!(answer.status(), 200 | 201 | 203 | 400..=599);
        let encoded = answer
            .known(Name::ContentEncoding)
            .is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        whole
            && !encoded
            && answer.known(Name::ContentRange).is_none()
            && !answer.all(Name::CacheControl).any(forbids)
            && answer.known(Name::ContentType).is_some_and(|media| self.shrinks(media))
    }

    fn shrinks(&self, media: &[u8]) -> bool {
        let media = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        self.types.iter().any(|known| match known.strip_suffix(b"*") {
            Some(start) => media.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
            None => known.eq_ignore_ascii_case(media),
        })
    }

    /// Begins to compress.
    ///
    /// # Errors
    /// The library's, for want of memory.
    pub fn encoder(&self, algorithm: Algorithm) -> io::Result<Encoder> {
        Encoder::new(algorithm, self.levels)
    }
}

fn forbids(cache_control: &[u8]) -> bool {
    let mut words = cache_control.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    words.any(|word| word.eq_ignore_ascii_case(b"no-transform"))
}

/// A body on its way through a compressor.
pub struct Encoder(Kind);

enum Kind {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(algorithm: Algorithm, levels: Levels) -> io::Result<Self> {
        Ok(Self(match algorithm {
            Algorithm::Gzip => Kind::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(levels.gzip))),
            Algorithm::Br => Kind::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                levels.brotli,
                BROTLI_WINDOW,
            ))),
            Algorithm::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), levels.zstd)?;
                encoder.window_log(ZSTD_WINDOW.min(19))?;
                Kind::Zstd(encoder)
            }
        }))
    }

    /// Takes a piece; what can be sent by now is added to `out`, which may be nothing. With `flush` it is all that was
    /// taken, so that a client sees it at once (events, slow pages), at the price of some bytes.
    ///
    /// # Errors
    /// The library's.
    pub fn push(&mut self, piece: &[u8], flush: bool, out: &mut Vec<u8>) -> io::Result<()> {
        let writer: &mut dyn Write = match &mut self.0 {
            Kind::Gzip(encoder) => encoder,
            Kind::Brotli(encoder) => encoder,
            Kind::Zstd(encoder) => encoder,
        };
        writer.write_all(piece)?;
        if flush {
            writer.flush()?;
        }
        let made = match &mut self.0 {
            Kind::Gzip(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
        };
        out.append(made);
        Ok(())
    }

    /// Ends the body: what is left is added to `out`.
    ///
    /// # Errors
    /// The library's.
    pub fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = match self.0 {
            Kind::Gzip(encoder) => encoder.finish()?,
            Kind::Brotli(encoder) => encoder.into_inner(),
            Kind::Zstd(encoder) => encoder.finish()?,
        };
        out.append(&mut rest);
        Ok(())
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::Gzip(_) => "gzip",
            Kind::Brotli(_) => "br",
            Kind::Zstd(_) => "zstd",
        })
    }
}

#[cfg(test)]
mod tests;
