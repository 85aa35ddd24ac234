//! Which of several Redis hosts keeps a name: the ring of `channels_redis`, to the bit.

/// The places on the ring; a host owns an equal arc of them.
const RING: u32 = 4096;

/// The index of the host, of `hosts` in their configured order, that owns `value`.
///
/// What is hashed depends on the operation: a group its bare name, a specific queue its remote part with the `!`,
/// a pub/sub channel its name in Redis.
pub(crate) fn shard(value: &str, hosts: usize) -> usize {
    if hosts <= 1 {
        return 0;
    }
    let place = crc32fast::hash(value.as_bytes()) & (RING - 1);
    owner(place, hosts)
}

/// The host whose arc holds a place. Python divides doubles, which differs from whole numbers from 186 hosts on, so
/// this divides doubles too.
fn owner(place: u32, hosts: usize) -> usize {
    let arc = f64::from(RING) / hosts as f64;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Python truncates here, and the quotient is below `hosts`"
    )]
    let index = (f64::from(place) / arc) as usize;
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING_SIZES: [usize; 7] = [2, 3, 4, 5, 7, 10, 16];

    #[test]
    fn names_fall_on_the_hosts_that_python_gives_them() {
        for (value, crc, owners) in [
            ("key_one", 0xae65_9b21, [1, 2, 2, 3, 4, 6, 11]),
            ("key_two", 0xc5c3_97b6, [0, 1, 1, 2, 3, 4, 7]),
            ("test-group", 0x20f4_4e04, [1, 2, 3, 4, 6, 8, 14]),
            ("grp", 0xffd5_6eff, [1, 2, 3, 4, 6, 9, 14]),
            ("specific.0123456789abcdef0123456789abcdef!", 0xe967_c571, [0, 1, 1, 1, 2, 3, 5]),
            (
                "specific.0123456789abcdef0123456789abcdef!fedcba9876543210fedcba9876543210",
                0x5cab_95b8,
                [0, 1, 1, 1, 2, 3, 5],
            ),
            ("asgi__group__grp", 0xd102_ba55, [1, 1, 2, 3, 4, 6, 10]),
        ] {
            assert_eq!(crc32fast::hash(value.as_bytes()), crc, "{value}");
            assert_eq!(RING_SIZES.map(|hosts| shard(value, hosts)), owners, "{value}");
            assert_eq!(shard(value, 1), 0);
        }
    }

    #[test]
    fn the_division_is_of_doubles() {
        assert_eq!(owner(2048, 186), 92, "whole numbers would give 93");
    }

    #[test]
    fn every_place_has_a_host() {
        for hosts in 2..=1024 {
            assert_eq!(owner(0, hosts), 0);
            assert_eq!(owner(RING - 1, hosts), hosts - 1, "of {hosts}");
        }
    }
}
