//! The best Huffman codes for given numbers of occurrences.

/// A table to code with.
#[derive(Debug, Clone)]
pub(super) struct Codes {
    /// For each symbol its code and the code's length, zero if it does not occur.
    pub(super) by_symbol: Vec<(u32, u32)>,
    /// How many codes there are of each length, from 1.
    lengths: [u8; 16],
    /// The symbols, from the shortest code to the longest.
    symbols: Vec<u8>,
}

/// Length at which ITU-T T.81 ends.
const LONGEST: usize = 16;

impl Codes {
    /// Makes a table for the symbols that occur, or `None` if none does.
    pub(super) fn new(counts: &[u32]) -> Option<Self> {
        let mut used: Vec<(u32, u8)> = counts
            .iter()
            .zip(0..=255)
            .filter(|(count, _)| **count > 0)
            .map(|(&count, symbol)| (count, symbol))
            .collect();
        if used.is_empty() {
            return None;
        }
        used.sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
        // The code of ones only is not allowed; a symbol that never occurs takes it.
        let weights: Vec<u64> =
            std::iter::once(0).chain(used.iter().rev().map(|&(count, _)| u64::from(count))).collect();
        let mut lengths = limited(&depths(&weights));
        if let Some(longest) = lengths.iter_mut().rev().find(|count| **count > 0) {
            *longest -= 1;
        }
        let symbols: Vec<u8> = used.iter().map(|&(_, symbol)| symbol).collect();
        let mut by_symbol = vec![(0, 0); 256];
        let (mut code, mut rest) = (0, symbols.iter());
        for (length, &count) in (1..).zip(&lengths) {
            for &symbol in rest.by_ref().take(count.into()) {
                by_symbol[usize::from(symbol)] = (code, length);
                code += 1;
            }
            code <<= 1;
        }
        Some(Self { by_symbol, lengths, symbols })
    }

    /// Writes the table as a DHT segment's body holds it.
    pub(super) fn define(&self, class: u8, body: &mut Vec<u8>) {
        body.push(class);
        body.extend(self.lengths);
        body.extend(&self.symbols);
    }
}

/// Returns how many leaves of a Huffman tree lie at each depth; `weights` ascend.
fn depths(weights: &[u64]) -> Vec<usize> {
    let leaves = weights.len();
    // Leaves and inner nodes both come in ascending order, so two queues replace a heap.
    let mut inner: Vec<u64> = Vec::with_capacity(leaves);
    let mut parents = vec![0; 2 * leaves];
    let (mut leaf, mut node) = (0, 0);
    while inner.len() + 1 < leaves {
        let mut sum = 0;
        for _ in 0..2 {
            let take_leaf = match (weights.get(leaf), inner.get(node)) {
                (Some(left), Some(right)) => left <= right,
                (left, _) => left.is_some(),
            };
            if take_leaf {
                sum += weights[leaf];
                parents[leaf] = leaves + inner.len();
                leaf += 1;
            } else {
                sum += inner[node];
                parents[leaves + node] = leaves + inner.len();
                node += 1;
            }
        }
        inner.push(sum);
    }
    // From the root, which is last, to the leaves.
    let mut depth = vec![0; leaves + inner.len()];
    let mut counts = vec![0; leaves + 1];
    for at in (0..depth.len().saturating_sub(1)).rev() {
        depth[at] = depth[parents[at]] + 1;
        if at < leaves {
            counts[depth[at]] += 1;
        }
    }
    counts
}

/// Shortens what is too long, as ITU-T T.81 K.3 does: a pair that is too deep gives one leaf to its
/// parent, and the other becomes the sibling of a leaf further up.
fn limited(depths: &[usize]) -> [u8; LONGEST] {
    let mut counts = depths.to_vec();
    counts.resize(counts.len().max(LONGEST + 1), 0);
    for depth in (LONGEST + 1..counts.len()).rev() {
        while counts[depth] > 0 {
            let Some(above) = (1..depth - 1).rev().find(|&above| counts[above] > 0) else { break };
            counts[depth] = counts[depth].saturating_sub(2);
            counts[depth - 1] += 1;
            counts[above + 1] += 2;
            counts[above] -= 1;
        }
    }
    std::array::from_fn(|index| counts[index + 1] as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_free_of_prefixes_and_at_most_sixteen_bits_long() {
        // Fibonacci numbers make the deepest tree there is.
        let (mut counts, mut pair) = (vec![0; 256], (1_u32, 1_u32));
        for count in counts.iter_mut().take(40) {
            *count = pair.0;
            pair = (pair.1, pair.0 + pair.1);
        }
        let codes = Codes::new(&counts).expect("symbols occur");
        assert!(codes.by_symbol.iter().all(|code| code.1 <= 16));
        let space: u32 = codes.by_symbol.iter().filter(|code| code.1 > 0).map(|code| 1 << (16 - code.1)).sum();
        assert!(space < 1 << 16, "the code of ones only must stay free");
        assert_eq!(codes.symbols.len(), 40);
    }

    #[test]
    fn a_single_symbol_has_a_code_of_one_bit() {
        let mut counts = vec![0; 256];
        counts[5] = 3;
        let codes = Codes::new(&counts).expect("a symbol occurs");
        assert_eq!(codes.by_symbol[5], (0, 1));
        assert_eq!(Codes::new(&[0; 256]).map(|codes| codes.symbols), None);
    }
}
