//! MurmurHash3 (Austin Appleby), 128 bits for 64-bit machines, with Kafka Streams' seed and its signed finish: foreign-key joins compare
//! rows by it.

const SEED: u64 = 104_729;
const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

fn finish(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

fn first(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn second(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

/// Up to 8 bytes as a number, little endian.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The hash of a row's bytes.
pub(crate) fn murmur3_128(data: &[u8]) -> [u64; 2] {
    let (mut h1, mut h2) = (SEED, SEED);
    let (blocks, tail) = data.as_chunks::<16>();
    for block in blocks {
        let (k1, k2) = block.split_at(8);
        h1 ^= first(number(k1));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= second(number(k2));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let (k1, k2) = tail.split_at(tail.len().min(8));
    h2 ^= second(number(k2));
    h1 ^= first(number(k1));
    let length = data.len() as u64;
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish(h1);
    h2 = finish(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    [h1, h2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `org.apache.kafka.streams.state.internals.Murmur3.hash128` of 4.3.1.
    #[test]
    fn hashes_are_kafka_streams() {
        let check = |text: &str, expect: [u64; 2]| assert_eq!(murmur3_128(text.as_bytes()), expect, "{text}");
        check("", [0x9d27_64a0_18e3_2942, 0x8c3c_f3b0_3593_8518]);
        check("a", [0x3361_634e_7e0f_5188, 0xe9c7_dda2_4eae_326b]);
        check("abcdefgh", [0xc9e1_37e2_04bd_98d7, 0x9841_2524_f285_c8d5]);
        check("abcdefghi", [0x4be3_491e_5ef4_4ca3, 0x7e63_ebba_6e3b_347c]);
        check("abcdefghijklmnop", [0x03da_a544_af25_2b49, 0xec7e_65ee_d6ef_622a]);
        check("The quick brown fox jumps over the lazy dog", [0xe74c_5921_af0f_99c8, 0xb7f8_5ec8_1df0_6726]);
    }
}
