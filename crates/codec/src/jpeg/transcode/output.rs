//! Writes the result: tables, frame, scans.

use super::{
    super::{
        header::Frame,
        segment::{DHT, DQT, EOI, SOS},
    },
    bands::Bands,
    layout::Layout,
    step::Steps,
    tokens::Tokens,
    writer::Writer,
};

/// Writes one sequential scan with all components, behind the metadata.
pub(super) fn sequential(writer: &mut Writer, frame: &Frame, layout: &Layout, steps: &[Steps], tokens: &Tokens) {
    let tables = quantization(writer, steps);
    // Baseline has steps of eight bits and nothing else; extended sequential differs only in that.
    let baseline = steps.iter().all(|steps| steps.new.iter().all(|&step| step < 256));
    write_frame(writer, if baseline { 0xc0 } else { 0xc1 }, frame, layout, &tables);
    let codes = tokens.codes();
    let mut body = Vec::new();
    for (codes, class) in codes.iter().zip([0x00, 0x10, 0x01, 0x11]) {
        if let Some(codes) = codes {
            codes.define(class, &mut body);
        }
    }
    writer.segment(DHT, &body);
    let parts: Vec<_> = (0..layout.planes.len()).map(|component| (component, component.min(1) as u8 * 0x11)).collect();
    scan(writer, frame, &parts, (0, 63));
    tokens.write(&codes, writer);
    writer.align();
    writer.bytes.extend([0xff, EOI]);
}

/// Writes the scans of a progressive file, behind the metadata.
pub(super) fn progressive(writer: &mut Writer, frame: &Frame, layout: &Layout, steps: &[Steps], bands: &Bands) {
    let tables = quantization(writer, steps);
    write_frame(writer, 0xc2, frame, layout, &tables);
    for (component, tokens) in bands.dc.iter().enumerate() {
        band(writer, frame, (component, 0, 0), tokens);
    }
    for ac in &bands.ac {
        band(writer, frame, (ac.component, ac.first, ac.last), &ac.tokens);
    }
    writer.bytes.extend([0xff, EOI]);
}

/// Writes one scan of a component, from the first coefficient to the last, and the code it needs.
fn band(writer: &mut Writer, frame: &Frame, (component, first, last): (usize, usize, usize), tokens: &Tokens) {
    let codes = tokens.codes();
    let mut body = Vec::new();
    if let Some(codes) = &codes[0] {
        codes.define(if last == 0 { 0x00 } else { 0x10 }, &mut body);
    }
    writer.segment(DHT, &body);
    scan(writer, frame, &[(component, 0)], (first as u8, last as u8));
    tokens.write(&codes, writer);
    writer.align();
}

/// Writes the quantization tables, each once, and returns which one each component uses.
pub(super) fn quantization(writer: &mut Writer, steps: &[Steps]) -> Vec<u8> {
    let mut written: Vec<&[u16; 64]> = Vec::new();
    let mut tables = Vec::new();
    for Steps { new, .. } in steps {
        let known = written.iter().position(|table| *table == new);
        let number = known.unwrap_or(written.len());
        tables.push(number as u8);
        if known.is_some() {
            continue;
        }
        written.push(new);
        let wide = new.iter().any(|&step| step > 255);
        let mut body = vec![u8::from(wide) << 4 | number as u8];
        for step in new {
            let bytes = step.to_be_bytes();
            body.extend(if wide { &bytes[..] } else { &bytes[1..] });
        }
        writer.segment(DQT, &body);
    }
    tables
}

/// Writes the frame header. The components keep their numbers: without an Adobe or JFIF segment
/// decoders tell the colours by them.
pub(super) fn write_frame(writer: &mut Writer, marker: u8, frame: &Frame, layout: &Layout, tables: &[u8]) {
    let mut body = vec![8];
    body.extend((frame.height as u16).to_be_bytes());
    body.extend((frame.width as u16).to_be_bytes());
    body.push(layout.planes.len() as u8);
    for ((part, plane), table) in frame.components.iter().zip(&layout.planes).zip(tables) {
        body.extend([part.id, (plane.horizontal << 4 | plane.vertical) as u8, *table]);
    }
    writer.segment(marker, &body);
}

/// Writes a scan header for `parts`, each a component and its tables, and coefficients from the
/// first to the last of `band`.
pub(super) fn scan(writer: &mut Writer, frame: &Frame, parts: &[(usize, u8)], band: (u8, u8)) {
    let mut body = vec![parts.len() as u8];
    for &(component, tables) in parts {
        body.extend([frame.components[component].id, tables]);
    }
    body.extend([band.0, band.1, 0]);
    writer.segment(SOS, &body);
}
