//! The time as the database holds it.

use std::time::SystemTime;

/// Whole seconds since 1970, UTC.
pub(crate) fn unix_seconds() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_seconds() {
        let (released, far) = (1_763_000_000, 5_000_000_000);
        assert!((released..far).contains(&unix_seconds()));
    }
}
