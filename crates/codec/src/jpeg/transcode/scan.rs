//! Walks the file: tables, scan headers, and where the entropy-coded data begin.

use std::rc::Rc;

use super::{
    super::{
        header::{Frame, read_tables},
        segment::{APP0, DHT, DQT, DRI, EOI, SOS, entropy_length},
    },
    huffman::{AcTable, Code, DcTable},
    refinement::RefinementTable,
};
use crate::{Error, Limits};

/// One component in a scan.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Index of the component in the frame.
    pub(super) component: usize,
    dc: usize,
    ac: usize,
}

/// A scan header.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    /// The first and the last coefficient, in zigzag order.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Successive approximation: the bit before, zero in a first scan, and the lowest bit coded.
    pub(super) high: u32,
    pub(super) low: u32,
}

/// The walk through a file, and the tables in force at its present place.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) source: &'a [u8],
    at: usize,
    dc: [Option<Rc<Code>>; 4],
    ac: [Option<Rc<Code>>; 4],
    /// MCUs between restart markers, zero for none.
    pub(super) restart: usize,
    quantization: [Option<[u16; 64]>; 4],
    /// The steps of each component, as they were when its first scan began.
    steps: Vec<Option<[u16; 64]>>,
    scans: u64,
    /// The lowest bit known of each coefficient, by component; [`MISSING`] without any.
    known: Vec<[u8; 64]>,
    /// Whether the end-of-image marker was met.
    complete: bool,
    /// Bytes of segments that a file without metadata does not have.
    pub(super) surplus: usize,
}

const MISSING: u8 = 0xff;

impl<'a> Walk<'a> {
    pub(super) fn new(source: &'a [u8], components: usize) -> Self {
        Self {
            source,
            at: 2,
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart: 0,
            quantization: [None; 4],
            steps: vec![None; components],
            scans: 0,
            known: vec![[MISSING; 64]; components],
            complete: false,
            surplus: 0,
        }
    }

    /// Goes on to the next scan; `None` at the end of the image. A file without an end-of-image
    /// marker ends where its bytes do: whether that was too early, the caller knows.
    pub(super) fn next_scan(&mut self, frame: &Frame) -> Result<Option<Scan>, Error> {
        let cut = || Error::truncated("the JPEG ends within a segment");
        loop {
            let Some(marker) = self.marker() else { return Ok(None) };
            if marker == EOI {
                self.complete = true;
                return Ok(None);
            }
            let rest = &self.source[self.at..];
            let length = rest.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
            let body = rest.get(2..length.ok_or_else(cut)?.max(2)).ok_or_else(cut)?;
            self.at += 2 + body.len();
            match marker {
                // The first one has been read, and two before the first scan have been refused.
                0xc0..=0xc2 if self.scans == 0 => {}
                0xc0..=0xc2 => return Err(Error::corrupt("there are two frame headers")),
                DQT => read_tables(body, &mut self.quantization)?,
                DHT => self.read_codes(body)?,
                DRI => {
                    let interval = body.first_chunk().map(|interval| u16::from_be_bytes(*interval));
                    self.restart = interval.ok_or_else(cut)?.into();
                }
                SOS => {
                    self.scans += 1;
                    Limits::check_scans(self.scans)?;
                    return self.read_scan(body, frame).map(Some);
                }
                APP0..=0xef | 0xfe => self.surplus += 4 + body.len(),
                other => return Err(Error::corrupt(format!("unexpected marker 0xff{other:02x}"))),
            }
        }
    }

    /// Walks to the end of the image behind the only scan that counts. Others behind it would say
    /// again what has been said; they are passed over, as libjpeg does.
    pub(super) fn pass_rest(&mut self, frame: &Frame) -> Result<(), Error> {
        while self.next_scan(frame)?.is_some() {
            let length = entropy_length(self.entropy()).unwrap_or(self.entropy().len());
            self.pass(length);
        }
        Ok(())
    }

    /// Returns the bytes behind the scan header that was read last.
    pub(super) fn entropy(&self) -> &'a [u8] {
        &self.source[self.at..]
    }

    /// Goes on behind `length` bytes of entropy-coded data.
    pub(super) fn pass(&mut self, length: usize) {
        self.at += length;
    }

    pub(super) fn dc_table(&self, part: &Part) -> Result<DcTable, Error> {
        Ok(DcTable::new(code(&self.dc, part.dc)?))
    }

    pub(super) fn ac_table(&self, part: &Part) -> Result<AcTable, Error> {
        Ok(AcTable::new(code(&self.ac, part.ac)?))
    }

    pub(super) fn refinement_table(&self, part: &Part) -> Result<RefinementTable, Error> {
        Ok(RefinementTable::new(code(&self.ac, part.ac)?))
    }

    /// Fails if scans are missing that the file should have. One that ends in order may leave out
    /// refinements, one that was cut off may not.
    pub(super) fn check_complete(&self) -> Result<(), Error> {
        if !self.complete && self.known.iter().flatten().any(|&low| low > 0) {
            return Err(Error::truncated("the JPEG ends before its last scan"));
        }
        Ok(())
    }

    /// Returns the bytes up to the present place that are no metadata.
    pub(super) fn essential(&self) -> usize {
        self.at - self.surplus
    }

    /// Returns the steps of each component; only complete once each had a scan.
    pub(super) fn steps(&self) -> Result<Vec<[u16; 64]>, Error> {
        let steps = self.steps.iter().copied().collect::<Option<_>>();
        steps.ok_or_else(|| Error::truncated("a colour component has no scan"))
    }

    fn marker(&mut self) -> Option<u8> {
        loop {
            self.at += memchr::memchr(0xff, self.source.get(self.at..)?)? + 1;
            match *self.source.get(self.at)? {
                0xff => {}
                0x00 | 0x01 | 0xd0..=0xd8 => self.at += 1,
                marker => {
                    self.at += 1;
                    return Some(marker);
                }
            }
        }
    }

    fn read_codes(&mut self, mut body: &[u8]) -> Result<(), Error> {
        while let Some((&class, rest)) = body.split_first() {
            let (code, rest) = Code::read(rest)?;
            let tables = if class >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let table = tables.get_mut(usize::from(class & 15));
            *table.ok_or_else(|| Error::corrupt("a Huffman table has a number beyond 3"))? = Some(Rc::new(code));
            body = rest;
        }
        Ok(())
    }

    fn read_scan(&mut self, body: &[u8], frame: &Frame) -> Result<Scan, Error> {
        let broken = || Error::corrupt("a scan header is broken");
        let (&count, rest) = body.split_first().ok_or_else(broken)?;
        let (listed, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(broken)?;
        let [first, last, approximation] = *rest.first_chunk().ok_or_else(broken)?;
        let mut parts: Vec<Part> = Vec::new();
        for &[id, tables] in listed.as_chunks::<2>().0 {
            let component = frame.components.iter().position(|component| component.id == id).ok_or_else(broken)?;
            if parts.last().is_some_and(|part| part.component >= component) {
                return Err(broken());
            }
            let table = self.quantization.get(usize::from(frame.components[component].table)).copied().flatten();
            if self.steps[component].is_none() {
                let steps = table.filter(|steps| !steps.contains(&0));
                self.steps[component] = Some(steps.ok_or_else(|| Error::corrupt("a quantization table is missing"))?);
            }
            parts.push(Part { component, dc: usize::from(tables >> 4), ac: usize::from(tables & 15) });
        }
        let (first, last) = if frame.progressive { (first, last) } else { (0, 63) };
        let (high, low) = if frame.progressive { (approximation >> 4, approximation & 15) } else { (0, 0) };
        let spectral = if first == 0 { !frame.progressive || last == 0 } else { parts.len() == 1 };
        let successive = low <= 13 && (high == 0 || high == low + 1);
        if parts.is_empty() || first > last || last > 63 || !spectral || !successive {
            return Err(broken());
        }
        let (first, last) = (usize::from(first), usize::from(last));
        for part in &parts {
            self.known[part.component][first..=last].fill(low);
        }
        Ok(Scan { parts, first, last, high: high.into(), low: low.into() })
    }
}

fn code(codes: &[Option<Rc<Code>>; 4], index: usize) -> Result<&Code, Error> {
    let code = codes.get(index).and_then(Option::as_deref);
    code.ok_or_else(|| Error::corrupt("a Huffman table is missing"))
}
