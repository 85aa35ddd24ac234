//! Memberships lapse in the layer unless they are renewed; whoever is alive renews them in time.

use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelName, GroupName};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// A third of the expiry, so that one failed renewal does no harm.
fn period(layer: &dyn ChannelLayer) -> Duration {
    (layer.group_expiry() / 3).max(Duration::from_millis(1))
}

/// When to renew.
pub(crate) fn renewal(layer: &dyn ChannelLayer) -> Interval {
    let period = period(layer);
    let mut renewal = interval_at(Instant::now() + period, period);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    renewal
}

/// Renews the memberships of a channel. A failure is logged: the next beat tries again.
pub(crate) async fn renew<'a>(
    layer: &dyn ChannelLayer,
    groups: impl IntoIterator<Item = &'a GroupName>,
    channel: &ChannelName,
) {
    for group in groups {
        if let Err(cause) = layer.group_add(group, channel).await {
            tracing::warn!(%cause, %group, "a membership could not be renewed");
        }
    }
}
