//! One look at each byte of a text, with the widest vector instructions that the CPU has.
//!
//! The compiler makes them of plain loops; `pulp` only compiles the loops once more for CPUs with wider
//! ones and chooses at run time. Intake as a whole takes a twentieth fewer instructions by it.

/// Bytes that are looked at together, in one vector register of AVX2 and two of SSE2.
const LANES: usize = 32;

/// Returns whether a byte and the byte behind it pass the test, which must be without branches. There is
/// no early end: it would cost more than it saves where hardly any pair does.
pub(super) fn any_pair(bytes: &[u8], test: impl Fn(u8, u8) -> bool) -> bool {
    struct Look<'a, Test>(&'a [u8], Test);
    impl<Test: Fn(u8, u8) -> bool> pulp::NullaryFnOnce for Look<'_, Test> {
        type Output = bool;

        #[expect(clippy::inline_always, reason = "what is not inlined is not compiled for wider instructions")]
        #[inline(always)]
        fn call(self) -> bool {
            let Self(bytes, test) = self;
            let Some(behind) = bytes.get(1..) else { return false };
            let front = &bytes[..behind.len()];
            let (Some(end), Some(behind_end)) = (front.last_chunk(), behind.last_chunk()) else {
                return front.iter().zip(behind).any(|(&byte, &next)| test(byte, next));
            };
            let mut found = [0; LANES];
            let mut look = |chunk: &[u8; LANES], behind: &[u8; LANES]| {
                let pairs = chunk.iter().zip(behind);
                found.iter_mut().zip(pairs).for_each(|(found, (&byte, &next))| *found |= u8::from(test(byte, next)));
            };
            for (chunk, behind) in front.as_chunks().0.iter().zip(behind.as_chunks().0) {
                look(chunk, behind);
            }
            // Some of the last bytes were looked at already.
            look(end, behind_end);
            found.iter().fold(0, |any, found| any | found) != 0
        }
    }
    pulp::Arch::new().dispatch(Look(bytes, test))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pair_is_found_wherever_it_stands(bytes in prop::collection::vec(0..8_u8, 0..100)) {
            for (first, second) in [(0, 0), (1, 2), (7, 7)] {
                let found = any_pair(&bytes, |byte, next| byte == first && next == second);
                prop_assert_eq!(found, bytes.windows(2).any(|pair| pair == [first, second]));
            }
        }
    }
}
