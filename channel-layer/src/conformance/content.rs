//! Clauses about what a message may hold, and how much.

use rmp::encode;
use tokio::time::timeout;

use super::Backend;
use super::tools::{ARRIVAL, Fault, Verdict, ensure, group, layer, member, message};
use crate::{Delivery, Limits, Message};

pub(super) async fn values_arrive_unchanged(backend: &dyn Backend) -> Verdict {
    passes_unchanged(backend, &values().map_err(|error| Fault::Seen(error.to_string()))?).await
}

pub(super) async fn a_megabyte_passes(backend: &dyn Backend) -> Verdict {
    passes_unchanged(backend, &message(&"x".repeat(1 << 20))).await
}

/// Sends a message by name and by group, and checks that it comes out as it went in.
async fn passes_unchanged(backend: &dyn Backend, sent: &Message) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let group = group("test-group");
    let mut mailbox = member(&layer, &group, "specific").await?;
    layer.send(mailbox.name(), sent.clone()).await?;
    layer.group_send(&group, sent.clone()).await?;
    for way in ["by name", "by group"] {
        let arrived = timeout(ARRIVAL, mailbox.recv()).await;
        let unchanged = matches!(&arrived, Ok(Delivery::Message(arrived)) if arrived == sent);
        ensure!(unchanged, "{sent:?} was sent {way}, and arrived as {arrived:?}");
    }
    Ok(())
}

/// A message with every kind of value that may be in one.
fn values() -> Result<Message, encode::ValueWriteError> {
    let mut bytes = Vec::new();
    encode::write_map_len(&mut bytes, 7)?;
    encode::write_str(&mut bytes, "type")?;
    encode::write_str(&mut bytes, "test.values")?;
    encode::write_str(&mut bytes, "null")?;
    encode::write_nil(&mut bytes).map_err(encode::ValueWriteError::InvalidMarkerWrite)?;
    encode::write_str(&mut bytes, "bytes")?;
    encode::write_bin(&mut bytes, &(0..=255).collect::<Vec<u8>>())?;
    encode::write_str(&mut bytes, "Ünïcödé \u{1F980}\0")?;
    encode::write_str(&mut bytes, "¯\\_(ツ)_/¯\r\n")?;
    encode::write_str(&mut bytes, "bools")?;
    encode::write_array_len(&mut bytes, 2)?;
    for value in [true, false] {
        encode::write_bool(&mut bytes, value).map_err(encode::ValueWriteError::InvalidMarkerWrite)?;
    }
    encode::write_str(&mut bytes, "integers")?;
    encode::write_array_len(&mut bytes, 6)?;
    for value in [0, -1, 1 << 53, (1 << 53) + 1, i64::MIN, i64::MAX] {
        encode::write_sint(&mut bytes, value)?;
    }
    encode::write_str(&mut bytes, "nested")?;
    encode::write_map_len(&mut bytes, 1)?;
    encode::write_str(&mut bytes, "doubles")?;
    encode::write_array_len(&mut bytes, 6)?;
    for value in [0.1, -0.0, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, 1e23] {
        encode::write_f64(&mut bytes, value)?;
    }
    Ok(Message::from_packed(bytes.into()).expect("the values are those that a message may hold"))
}
