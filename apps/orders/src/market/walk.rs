//! Prices that walk at random, never far from where they began.

use rust_decimal::Decimal;

use super::Tick;
use crate::demo::{Dice, INSTRUMENTS};

/// A step is at most this part of the price that it began with: 0.05 %.
const STEPS_IN_PRICE: i64 = 2_000;

/// A price stays within this part of the one that it began with: 10 %.
const RANGE_IN_PRICE: i64 = 10;

/// The prices of all instruments, of which one moves at a time.
#[derive(Debug)]
pub(super) struct Walk {
    quotes: [Quote; INSTRUMENTS.len()],
    turn: usize,
    dice: Dice,
}

/// One instrument's price, in the smallest unit that it has.
#[derive(Debug)]
struct Quote {
    instrument: &'static str,
    began: i64,
    units: i64,
    /// How many decimal digits the unit is.
    scale: u32,
}

impl Walk {
    /// A walk that begins with the prices of the demo, and always goes the same way from the same seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { quotes: INSTRUMENTS.map(Quote::new), turn: 0, dice: Dice(seed) }
    }

    /// The next instrument's next price.
    pub(super) fn next(&mut self, sent_at: i64) -> Tick {
        let quote = &mut self.quotes[self.turn];
        self.turn = (self.turn + 1) % INSTRUMENTS.len();
        quote.step(&mut self.dice);
        Tick {
            instrument: quote.instrument.to_owned(),
            price: Decimal::new(quote.units, quote.scale).to_string(),
            change: Decimal::new(quote.units - quote.began, quote.scale).to_string(),
            sent_at,
        }
    }
}

impl Quote {
    /// What costs less than 10 has four digits behind the point, as currencies have; the others have two.
    fn new((instrument, hundredths): (&'static str, i64)) -> Self {
        let (units, scale) = if hundredths < 1_000 { (100 * hundredths, 4) } else { (hundredths, 2) };
        Self { instrument, began: units, units, scale }
    }

    fn step(&mut self, dice: &mut Dice) {
        let (most, range) = (self.began / STEPS_IN_PRICE + 1, self.began / RANGE_IN_PRICE);
        let next = self.units + dice.between(-most, most);
        self.units = next.clamp(self.began - range, self.began + range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn prices_stay_near_where_they_began_and_say_what_they_gained() {
        let mut walk = Walk::new(7);
        let mut last = HashMap::new();
        for (instrument, _) in INSTRUMENTS.into_iter().cycle().take(100_000) {
            let tick = walk.next(7);
            assert_eq!((tick.sent_at, tick.instrument.as_str()), (7, instrument));
            let [price, change] =
                [&tick.price, &tick.change].map(|text| Decimal::from_str_exact(text).unwrap());
            let began = price - change;
            assert_eq!(*last.entry(tick.instrument.clone()).or_insert(began), began);
            assert!(change.abs() * Decimal::from(RANGE_IN_PRICE) <= began, "{tick:?}");
            assert_eq!((price.scale(), change.scale()), (began.scale(), began.scale()), "{tick:?}");
        }
        assert_eq!(last["EURUSD"], Decimal::new(10_800, 4));
        assert_eq!(last["BTCUSD"], Decimal::new(9_745_000, 2));
    }

    #[test]
    fn every_price_moves_up_and_down() {
        let mut walk = Walk::new(3);
        for round in 0..2 {
            let mut moves: HashMap<_, (Vec<_>, _)> = HashMap::new();
            for _ in 0..2_000 {
                let tick = walk.next(round);
                let price = Decimal::from_str_exact(&tick.price).unwrap();
                let (directions, before) = moves.entry(tick.instrument).or_insert((Vec::new(), price));
                directions.push(price.cmp(before));
                *before = price;
            }
            for (instrument, (directions, _)) in moves {
                assert!(directions.iter().any(|direction| direction.is_gt()), "{instrument} rises");
                assert!(directions.iter().any(|direction| direction.is_lt()), "{instrument} falls");
            }
        }
    }
}
