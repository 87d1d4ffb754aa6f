//! The palette: boxes of colours, cut where they vary most, then refined by k-means.

use super::{Rgba, color, distance, pixels, point};
use crate::picture::Picture;

/// Rounds of k-means; the first brings most.
const ROUNDS: usize = 2;

/// Colours that fall into one cell of the histogram.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    sums: [u64; 4],
    weight: u64,
    /// The most frequent colour, if one has more than half of the cell, with its lead.
    leader: Rgba,
    lead: u64,
}

/// A cell as a point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    at: [f32; 4],
    weight: f32,
    leader: Rgba,
    lead: f32,
    opaque: bool,
}

/// Counts the visible colours, and returns them with whether there are invisible pixels too.
pub(super) fn histogram(picture: &Picture) -> (Vec<Point>, bool) {
    let mut opaque = vec![Cell::default(); 1 << 18];
    let mut translucent = Vec::new();
    let mut transparent = false;
    for color in pixels(&picture.samples, picture.channels) {
        let [red, green, blue, alpha] = color.map(usize::from);
        let cell = match alpha {
            0 => {
                transparent = true;
                continue;
            }
            255 => &mut opaque[(red >> 2) << 12 | (green >> 2) << 6 | blue >> 2],
            _ => {
                if translucent.is_empty() {
                    translucent.resize(1 << 16, Cell::default());
                }
                let key = (red >> 4) << 12 | (green >> 4) << 8 | (blue >> 4) << 4 | alpha >> 4;
                &mut translucent[key]
            }
        };
        cell.add(color);
    }
    let used =
        |cells: Vec<Cell>, opaque| cells.into_iter().filter(|cell| cell.weight > 0).map(move |cell| cell.point(opaque));
    (used(opaque, true).chain(used(translucent, false)).collect(), transparent)
}

impl Cell {
    fn add(&mut self, color: Rgba) {
        self.weight += 1;
        self.sums.iter_mut().zip(color).for_each(|(sum, value)| *sum += u64::from(value));
        if self.lead == 0 {
            self.leader = color;
        }
        if self.leader == color { self.lead += 1 } else { self.lead -= 1 }
    }

    fn point(self, opaque: bool) -> Point {
        let mean = self.sums.map(|sum| (sum + self.weight / 2) / self.weight);
        // The mean of 8-bit values has 8 bits.
        let at = point(mean.map(|value| value as u8));
        let (weight, lead) = (self.weight as f32, self.lead as f32);
        Point { at, weight, leader: self.leader, lead, opaque }
    }
}

/// A run of points, with their mean and how much they vary along each axis.
struct Group {
    start: usize,
    end: usize,
    mean: [f32; 4],
    spread: [f32; 4],
}

impl Group {
    fn new(points: &[Point], start: usize, end: usize) -> Self {
        let (mut weight, mut sums) = (0.0_f64, [0.0_f64; 4]);
        for point in &points[start..end] {
            weight += f64::from(point.weight);
            sums.iter_mut().zip(point.at).for_each(|(sum, value)| {
                *sum += f64::from(value) * f64::from(point.weight);
            });
        }
        let mean = sums.map(|sum| (sum / weight.max(1.0)) as f32);
        let mut spread = [0.0_f32; 4];
        for point in &points[start..end] {
            for axis in 0..4 {
                spread[axis] += (point.at[axis] - mean[axis]).powi(2) * point.weight;
            }
        }
        Self { start, end, mean, spread }
    }

    fn total(&self) -> f32 {
        self.spread.iter().sum()
    }
}

/// Chooses at most `count` colours for the points.
pub(super) fn palette(mut points: Vec<Point>, count: usize) -> Vec<Rgba> {
    // Opaque points come first.
    let border = points.partition_point(|point| point.opaque);
    let classes = [(0, border), (border, points.len())];
    let classes = classes.into_iter().filter(|(start, end)| start < end);
    let mut groups: Vec<Group> = classes.map(|(start, end)| Group::new(&points, start, end)).collect();
    while groups.len() < count {
        let widest = groups.iter().enumerate().max_by(|a, b| a.1.total().total_cmp(&b.1.total()));
        let Some((index, group)) = widest.filter(|(_, group)| group.total() > 0.0) else { break };
        let axis = (0..4).max_by(|&a, &b| group.spread[a].total_cmp(&group.spread[b])).unwrap_or(0);
        let (start, end, mean) = (group.start, group.end, group.mean[axis]);
        let middle = start + partition(&mut points[start..end], |point| point.at[axis] < mean);
        if middle == start || middle == end {
            // Rounding left all on one side: nothing to gain here.
            groups[index].spread = [0.0; 4];
            continue;
        }
        groups[index] = Group::new(&points, start, middle);
        groups.push(Group::new(&points, middle, end));
    }
    let mut entries: Vec<_> = groups.iter().map(|group| (group.mean, points[group.start].opaque)).collect();
    for _ in 0..ROUNDS {
        refine(&points, &mut entries);
    }
    snap(&points, &entries)
}

/// Moves the points that fulfil `test` to the front and returns their number.
fn partition(points: &mut [Point], test: impl Fn(&Point) -> bool) -> usize {
    let mut front = 0;
    for index in 0..points.len() {
        if test(&points[index]) {
            points.swap(front, index);
            front += 1;
        }
    }
    front
}

/// Moves each entry to the mean of the points nearest to it.
fn refine(points: &[Point], entries: &mut [([f32; 4], bool)]) {
    let mut sums = vec![([0.0_f64; 4], 0.0_f64); entries.len()];
    for point in points {
        let (sum, weight) = &mut sums[nearest(point, entries)];
        sum.iter_mut().zip(point.at).for_each(|(sum, value)| {
            *sum += f64::from(value) * f64::from(point.weight);
        });
        *weight += f64::from(point.weight);
    }
    for ((entry, _), (sum, weight)) in entries.iter_mut().zip(sums) {
        if weight > 0.0 {
            *entry = sum.map(|value| (value / weight) as f32);
        }
    }
}

/// Turns entries into colours. Where one exact colour has most of an entry, such as the white
/// behind a product, the entry becomes that colour, so that plain areas stay plain.
fn snap(points: &[Point], entries: &[([f32; 4], bool)]) -> Vec<Rgba> {
    let mut shares = vec![(0.0_f32, 0.0_f32, [0; 4]); entries.len()];
    for point in points {
        let (total, lead, leader) = &mut shares[nearest(point, entries)];
        *total += point.weight;
        if point.lead > *lead {
            (*lead, *leader) = (point.lead, point.leader);
        }
    }
    let colors = entries.iter().zip(shares).map(|(&(at, opaque), (total, lead, leader))| {
        let [red, green, blue, alpha] = if lead * 2.0 > total { leader } else { color(at) };
        [red, green, blue, if opaque { 255 } else { alpha.clamp(1, 254) }]
    });
    colors.collect()
}

fn nearest(point: &Point, entries: &[([f32; 4], bool)]) -> usize {
    let mut best = (0, f32::INFINITY);
    for (index, &(entry, opaque)) in entries.iter().enumerate() {
        let distance = distance(point.at, entry);
        if opaque == point.opaque && distance < best.1 {
            best = (index, distance);
        }
    }
    best.0
}
