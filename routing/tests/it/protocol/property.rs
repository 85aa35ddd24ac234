//! Whatever is legal comes back as it was sent.

use proptest::collection::vec;
use proptest::prelude::*;

use super::noisy;
use crate::support::{BINARY, Client, FIN, PING, PONG, TEXT, fragments, frame};

/// A message and the way in which it is sent.
#[derive(Debug, Clone)]
struct Script {
    opcode: u8,
    payload: Vec<u8>,
    /// Where it is cut into frames, as parts of its length.
    cuts: Vec<f64>,
    /// Pings before these frames.
    pings: Vec<(usize, Vec<u8>)>,
}

fn scripts() -> impl Strategy<Value = Vec<Script>> {
    let text = any::<String>().prop_map(|text| (TEXT, text.into_bytes()));
    let binary = prop_oneof![3 => vec(any::<u8>(), 0..300), 1 => vec(any::<u8>(), 65_000..70_000)];
    let message = prop_oneof![text, binary.prop_map(|bytes| (BINARY, bytes))];
    let pings = vec((0..8_usize, vec(any::<u8>(), 0..=125)), 0..4);
    let script = (message, vec(0.0..1.0, 0..8), pings);
    vec(script.prop_map(|((opcode, payload), cuts, pings)| Script { opcode, payload, cuts, pings }), 1..6)
}

impl Script {
    /// All frames of the message, and the pongs that are due.
    fn frames(&self) -> (Vec<u8>, Vec<&[u8]>) {
        let mut cuts: Vec<usize> = self.cuts.iter().map(|part| self.cut(*part)).collect();
        cuts.extend([0, self.payload.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &self.payload[ends[0]..ends[1]]).collect();
        let mut wire = Vec::new();
        let mut pongs = Vec::new();
        for (at, piece) in fragments(self.opcode, &pieces).into_iter().enumerate() {
            for (_, ping) in self.pings.iter().filter(|(before, _)| *before == at) {
                wire.extend(frame(FIN | PING, ping));
                pongs.push(&ping[..]);
            }
            wire.extend(piece);
        }
        (wire, pongs)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a part of a small length"
    )]
    fn cut(&self, part: f64) -> usize {
        (part * self.payload.len() as f64) as usize
    }
}

/// Sends all frames in chunks of these sizes, over and over, while what comes back is read.
async fn play(client: &mut Client, scripts: &[Script], chunks: &[usize]) {
    for script in scripts {
        let (wire, pongs) = script.frames();
        let mut rest = &wire[..];
        // A large message in single bytes would take its time and tell nothing more.
        let least = wire.len() / 300;
        for size in chunks.iter().cycle() {
            let (chunk, after) = rest.split_at((*size).max(least).min(rest.len()));
            client.send_apart([chunk]).await;
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        for pong in pongs {
            client.expect(PONG, pong).await;
        }
        client.expect(script.opcode, &script.payload).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn legal_messages_come_back(scripts in scripts(), chunks in vec(prop_oneof![1..20_usize, 1000..70_000_usize], 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = noisy().await.open("/echo").await;
            play(&mut client, &scripts, &chunks).await;
            client.send(crate::support::close(1000, "")).await;
            assert_eq!(client.closed().await.0, 1000);
        });
    }
}
