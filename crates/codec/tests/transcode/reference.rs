//! A decoder of coefficients that is as plain as can be: bit by bit, as ITU-T T.81 describes it.
//!
//! It shares nothing with the codec, so that the two do not have the same mistakes.

use std::collections::HashMap;

pub(crate) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// One component: its blocks in raster order, in zigzag order each, and its steps.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    pub(crate) id: u8,
    pub(crate) factors: (usize, usize),
    /// Blocks that show something.
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) stride: usize,
    pub(crate) blocks: Vec<[i32; 64]>,
    pub(crate) steps: [u16; 64],
    table: u8,
    before: i32,
}

/// A decoded file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Picture {
    pub(crate) progressive: bool,
    pub(crate) components: Vec<Component>,
    pub(crate) markers: Vec<u8>,
}

/// Codes by length and bits.
type Codes = HashMap<(u8, u16), u8>;

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    left: u32,
}

impl Bits<'_> {
    fn bit(&mut self) -> u32 {
        if self.left == 0 {
            if self.bytes[self.at - 1] == 0xff {
                assert_eq!(self.bytes[self.at], 0, "a marker within the data");
                self.at += 1;
            }
            self.at += 1;
            self.left = 8;
        }
        self.left -= 1;
        u32::from(self.bytes[self.at - 1] >> self.left & 1)
    }

    fn bits(&mut self, count: u32) -> u32 {
        (0..count).fold(0, |bits, _| bits << 1 | self.bit())
    }

    fn value(&mut self, size: u32) -> i32 {
        let bits = self.bits(size) as i32;
        if size > 0 && bits < 1 << (size - 1) { bits - (1 << size) + 1 } else { bits }
    }

    fn symbol(&mut self, codes: &Codes) -> u8 {
        let (mut length, mut code) = (0, 0);
        loop {
            (length, code) = (length + 1, code << 1 | self.bit() as u16);
            if let Some(symbol) = codes.get(&(length, code)) {
                return *symbol;
            }
            assert!(length < 16, "no such code");
        }
    }

    fn restart(&mut self) {
        if self.bytes[self.at - 1] == 0xff && self.bytes[self.at] == 0 {
            self.at += 1;
        }
        assert!(self.bytes[self.at] == 0xff && (0xd0..=0xd7).contains(&self.bytes[self.at + 1]), "no restart marker");
        (self.at, self.left) = (self.at + 2, 0);
    }
}

pub(crate) fn decode(bytes: &[u8]) -> Picture {
    let mut picture = Picture::default();
    let (mut steps, mut codes) = (HashMap::new(), HashMap::new());
    let (mut restart, mut at) = (0, 2);
    loop {
        assert_eq!(bytes[at], 0xff, "a marker at {at}");
        let marker = bytes[at + 1];
        picture.markers.push(marker);
        if marker == 0xd9 {
            return picture;
        }
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        let body = &bytes[at + 4..at + 2 + length];
        at += 2 + length;
        match marker {
            0xdb => read_steps(body, &mut steps),
            0xc4 => read_codes(body, &mut codes),
            0xdd => restart = usize::from(u16::from_be_bytes([body[0], body[1]])),
            0xc0..=0xc2 => read_frame(marker, body, &mut picture),
            0xda => {
                let mut bits = Bits { bytes, at, left: 0 };
                // The reader looks at the byte before; the header's last one is never 0xff.
                read_scan(body, &mut picture, &codes, restart, &mut bits);
                at = bits.at;
                if bytes[at - 1] == 0xff && bytes[at] == 0 {
                    at += 1;
                }
                for component in &mut picture.components {
                    component.steps = steps[&component.table];
                }
            }
            _ => {}
        }
    }
}

fn read_steps(mut body: &[u8], steps: &mut HashMap<u8, [u16; 64]>) {
    while !body.is_empty() {
        let wide = body[0] >> 4 == 1;
        let size = if wide { 2 } else { 1 };
        let value = |k: usize| {
            if wide { u16::from_be_bytes([body[1 + 2 * k], body[2 + 2 * k]]) } else { u16::from(body[1 + k]) }
        };
        steps.insert(body[0] & 15, std::array::from_fn(value));
        body = &body[1 + 64 * size..];
    }
}

fn read_codes(mut body: &[u8], codes: &mut HashMap<u8, Codes>) {
    while !body.is_empty() {
        let (mut table, mut code, mut at) = (Codes::new(), 0_u16, 17);
        for length in 1..=16 {
            for _ in 0..body[usize::from(length)] {
                table.insert((length, code), body[at]);
                (code, at) = (code.wrapping_add(1), at + 1);
            }
            code <<= 1;
        }
        codes.insert(body[0], table);
        body = &body[at..];
    }
}

fn read_frame(marker: u8, body: &[u8], picture: &mut Picture) {
    picture.progressive = marker == 0xc2;
    let (height, width) =
        (usize::from(u16::from_be_bytes([body[1], body[2]])), usize::from(u16::from_be_bytes([body[3], body[4]])));
    let parts: Vec<_> = body[6..].chunks(3).collect();
    let factors: Vec<_> = match parts.len() {
        1 => vec![(1, 1)],
        _ => parts.iter().map(|part| (usize::from(part[1] >> 4), usize::from(part[1] & 15))).collect(),
    };
    let widest = factors.iter().map(|factor| factor.0).max().expect("there are components");
    let tallest = factors.iter().map(|factor| factor.1).max().expect("there are components");
    for (part, (h, v)) in parts.iter().zip(factors) {
        let stride = width.div_ceil(8 * widest) * h;
        picture.components.push(Component {
            id: part[0],
            factors: (h, v),
            columns: (width * h).div_ceil(widest).div_ceil(8),
            rows: (height * v).div_ceil(tallest).div_ceil(8),
            stride,
            blocks: vec![[0; 64]; stride * height.div_ceil(8 * tallest) * v],
            steps: [0; 64],
            table: part[2],
            before: 0,
        });
    }
}

fn read_scan(body: &[u8], picture: &mut Picture, codes: &HashMap<u8, Codes>, restart: usize, bits: &mut Bits) {
    let count = usize::from(body[0]);
    let parts: Vec<_> = body[1..=2 * count].chunks(2).map(|part| (part[0], part[1])).collect();
    let (first, last) = (usize::from(body[2 * count + 1]), usize::from(body[2 * count + 2]));
    let (high, low) = (body[2 * count + 3] >> 4, u32::from(body[2 * count + 3] & 15));
    let progressive = picture.progressive;
    let index = |id: u8| picture.components.iter().position(|part| part.id == id).expect("a component of the frame");
    let indices: Vec<_> = parts.iter().map(|part| index(part.0)).collect();
    let lead = &picture.components[indices[0]];
    let (columns, rows) = if count == 1 {
        (lead.columns, lead.rows)
    } else {
        (lead.stride / lead.factors.0, lead.blocks.len() / lead.stride / lead.factors.1)
    };
    picture.components.iter_mut().for_each(|part| part.before = 0);
    let mut ended = 0;
    for unit in 0..columns * rows {
        if restart > 0 && unit > 0 && unit % restart == 0 {
            bits.restart();
            picture.components.iter_mut().for_each(|part| part.before = 0);
            ended = 0;
        }
        for (&index, &(_, tables)) in indices.iter().zip(&parts) {
            let part = &mut picture.components[index];
            let (h, v) = if count == 1 { (1, 1) } else { part.factors };
            for at in 0..h * v {
                let place = (unit / columns * v + at / h) * part.stride + unit % columns * h + at % h;
                let mut block = part.blocks[place];
                let (dc, ac) = (codes.get(&(tables >> 4)), codes.get(&(tables & 15 | 0x10)));
                if first == 0 && high == 0 {
                    let size = bits.symbol(dc.expect("a DC table"));
                    part.before += bits.value(size.into());
                    block[0] = part.before << low;
                } else if first == 0 {
                    block[0] |= (bits.bit() << low) as i32;
                }
                if last > 0 && high == 0 {
                    first_pass(&mut block, first.max(1), last, low, ac.expect("an AC table"), bits, &mut ended);
                } else if last > 0 {
                    refinement(&mut block, first, last, low, ac.expect("an AC table"), bits, &mut ended);
                }
                part.blocks[place] = block;
            }
        }
        if !progressive {
            assert_eq!(ended, 0);
        }
    }
}

fn first_pass(
    block: &mut [i32; 64],
    first: usize,
    last: usize,
    low: u32,
    codes: &Codes,
    bits: &mut Bits,
    ended: &mut u32,
) {
    if *ended > 0 {
        *ended -= 1;
        return;
    }
    let mut at = first;
    while at <= last {
        let symbol = bits.symbol(codes);
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 && run < 15 {
            *ended = (1 << run) + bits.bits(run as u32) - 1;
            return;
        }
        at += run;
        block[at] = bits.value(size) << low;
        at += 1;
    }
}

fn refinement(
    block: &mut [i32; 64],
    first: usize,
    last: usize,
    low: u32,
    codes: &Codes,
    bits: &mut Bits,
    ended: &mut u32,
) {
    let refine = |value: &mut i32, bits: &mut Bits| {
        if bits.bit() == 1 {
            *value += value.signum() << low;
        }
    };
    let mut at = first;
    while *ended == 0 && at <= last {
        let symbol = bits.symbol(codes);
        let (mut run, size) = (symbol >> 4, symbol & 15);
        if size == 0 && run < 15 {
            *ended = (1 << run) + bits.bits(run.into());
            break;
        }
        let value = if size == 0 { 0 } else { (2 * bits.bit() as i32 - 1) << low };
        loop {
            if block[at] != 0 {
                refine(&mut block[at], bits);
            } else if run == 0 {
                block[at] = value;
                at += 1;
                break;
            } else {
                run -= 1;
            }
            at += 1;
            if at > last {
                break;
            }
        }
    }
    if *ended > 0 {
        (at..=last).filter(|&at| block[at] != 0).collect::<Vec<_>>().into_iter().for_each(|at| {
            refine(&mut block[at], bits);
        });
        *ended -= 1;
    }
}
