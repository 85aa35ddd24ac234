//! The channel layers of a program, by alias, as `CHANNEL_LAYERS` is in Django.

use std::collections::BTreeMap;
use std::sync::Arc;

use channel_layer::ChannelLayer;

use crate::relay::Relays;

/// Channel layers by alias. Most programs have one, the default, and make this from it by `into()`.
///
/// ```
/// use channel_layer::InMemoryLayer;
/// use consumers::ChannelLayers;
/// let one: ChannelLayers = InMemoryLayer::default().into();
/// let two = one.with("market", InMemoryLayer::default());
/// assert!(two.get("market").is_some() && two.get(ChannelLayers::DEFAULT).is_some());
/// ```
#[derive(Debug, Clone, Default)]
pub struct ChannelLayers {
    by_alias: Arc<BTreeMap<String, Slot>>,
}

/// A layer and the relays that pass its events on in this process.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) layer: Arc<dyn ChannelLayer>,
    pub(crate) relays: Arc<Relays>,
}

impl ChannelLayers {
    /// The alias that consumers use unless they say otherwise.
    pub const DEFAULT: &'static str = "default";

    /// Adds a layer under an alias, or puts it in the place of the one before.
    #[must_use]
    pub fn with(mut self, alias: &str, layer: impl ChannelLayer) -> Self {
        let slot = Slot { layer: Arc::new(layer), relays: Arc::default() };
        Arc::make_mut(&mut self.by_alias).insert(alias.to_owned(), slot);
        self
    }

    /// The layer of an alias.
    #[must_use]
    pub fn get(&self, alias: &str) -> Option<&Arc<dyn ChannelLayer>> {
        self.slot(alias).map(|slot| &slot.layer)
    }

    /// All layers, for who has to close them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn ChannelLayer>> {
        self.by_alias.values().map(|slot| &slot.layer)
    }

    pub(crate) fn slot(&self, alias: &str) -> Option<&Slot> {
        self.by_alias.get(alias)
    }
}

impl<L: ChannelLayer> From<L> for ChannelLayers {
    fn from(layer: L) -> Self {
        Self::default().with(Self::DEFAULT, layer)
    }
}
