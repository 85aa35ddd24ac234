//! Exact money: decimals within bounds, and sums that never round.

use std::fmt;
use std::ops::{Add, Neg, Sub};

use rust_decimal::Decimal;

/// Decimals after the point that a quantity or a price may have.
pub(crate) const SCALE: u32 = 6;

/// Digits before the point that a quantity or a price may have.
pub(crate) const INTEGER_DIGITS: u32 = 9;

/// A sum of products of quantities and prices, exact: an integer of 10⁻¹² units. 128 bits hold the sum of 10⁸ orders
/// of the greatest size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub(crate) struct Total(i128);

/// The 10⁻¹² of a [`Total`] as digits.
const TOTAL_SCALE: u32 = 2 * SCALE;

impl Total {
    /// Quantity times price; `None` for decimals out of bounds, which only a foreign writer can have stored.
    pub(crate) fn of(quantity: Decimal, price: Decimal) -> Option<Self> {
        let (quantity, price) = (quantity.normalize(), price.normalize());
        if !(is_in_bounds(quantity) && is_in_bounds(price)) {
            return None;
        }
        let missing = TOTAL_SCALE - quantity.scale() - price.scale();
        Some(Self(quantity.mantissa() * price.mantissa() * 10_i128.pow(missing)))
    }
}

/// Whether a decimal has at most nine digits before the point and six after it.
pub(crate) fn is_in_bounds(decimal: Decimal) -> bool {
    let decimal = decimal.normalize();
    decimal.scale() <= SCALE && decimal.abs() < Decimal::from(10_i64.pow(INTEGER_DIGITS))
}

impl Add for Total {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Total {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Total {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl std::iter::Sum for Total {
    fn sum<I: Iterator<Item = Self>>(totals: I) -> Self {
        totals.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Total {
    /// Plain decimal text without an exponent or trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10_u128.pow(TOTAL_SCALE);
        let (whole, part) = (self.0.unsigned_abs() / unit, self.0.unsigned_abs() % unit);
        let sign = if self.0 < 0 { "-" } else { "" };
        let digits = format!("{part:012}");
        match digits.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole}"),
            digits => write!(f, "{sign}{whole}.{digits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(quantity: &str, price: &str) -> Option<String> {
        Total::of(quantity.parse().unwrap(), price.parse().unwrap()).map(|total| total.to_string())
    }

    #[test]
    fn products_are_exact() {
        assert_eq!(total("10", "1.0842").as_deref(), Some("10.842"));
        assert_eq!(total("-3", "0.1").as_deref(), Some("-0.3"));
        assert_eq!(total("0.000001", "0.000001").as_deref(), Some("0.000000000001"));
        assert_eq!(total("100.00", "2.50").as_deref(), Some("250"));
        assert_eq!(total("0", "5").as_deref(), Some("0"));
        let most = "999999999.999999";
        assert_eq!(total(most, most).as_deref(), Some("999999999999998000.000000000001"));
        assert_eq!(total("1000000000", "1"), None);
        assert_eq!(total("0.0000001", "1"), None);
    }

    #[test]
    fn many_great_orders_still_add_up() {
        let most = "999999999.999999".parse().unwrap();
        let one = Total::of(most, most).unwrap();
        let sum: Total = std::iter::repeat_n(one, 100_000).sum();
        assert_eq!(sum.to_string(), "99999999999999800000000.0000001");
        assert_eq!((sum - sum).to_string(), "0");
        assert_eq!((-one + one), Total::default());
    }
}
