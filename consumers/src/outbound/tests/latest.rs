//! Frames of which only the latest of each key is wanted: what takes whose place, and against a naive model.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn latest(key: &str, text: &str) -> LatestFrame {
    LatestFrame { key: Arc::new(FrameKey { relay: 1, text: key.to_owned() }), wire: wire(text) }
}

/// What a relay does in one turn.
fn pass_on(outbound: &Outbound, frames: &[LatestFrame]) {
    let wire = frames.iter().flat_map(|frame| frame.wire.to_vec()).collect::<Bytes>();
    outbound.pass_on_latest(&wire, frames);
}

/// The texts of the frames that come until nothing more does.
async fn drain(outbound: &Outbound, reader: &mut DuplexStream) -> Vec<String> {
    let mut bytes = Vec::new();
    while take(outbound, reader, 64, &mut bytes).await {}
    texts(&bytes)
}

/// Reads at most so many bytes; whether there were any.
async fn take(outbound: &Outbound, reader: &mut DuplexStream, most: usize, bytes: &mut Vec<u8>) -> bool {
    flush(outbound).await;
    let mut buffer = vec![0; most];
    let read = tokio::time::timeout(Duration::from_secs(1), reader.read(&mut buffer)).await;
    bytes.extend_from_slice(&buffer[..read.as_ref().map_or(0, |count| *count.as_ref().unwrap())]);
    read.is_ok()
}

fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [0x81, length, rest @ ..] = bytes {
        let (text, rest) = rest.split_at(usize::from(*length));
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        bytes = rest;
    }
    assert!(bytes.is_empty(), "whole frames came");
    texts
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_up_gets_every_frame_at_once() {
    let (outbound, mut reader) = pipe(1024);
    flush(&outbound).await;
    pass_on(&outbound, &[latest("a", "a1"), latest("a", "a2"), latest("b", "b1")]);
    assert_eq!(read(&mut reader, 12).await, [wire("a1"), wire("a2"), wire("b1")].concat());
    assert!(outbound.0.state.lock().backlog.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_newer_frame_takes_the_place_of_an_older_one_that_has_not_begun_to_leave() {
    // The first frame leaves, and one byte of the second.
    let (outbound, mut reader) = pipe(5);
    flush(&outbound).await;
    pass_on(&outbound, &[latest("a", "a1"), latest("b", "b1"), latest("c", "c1"), latest("d", "d1")]);
    outbound.push(&mut wire("own")).unwrap();
    pass_on(&outbound, &[latest("d", "d2"), latest("b", "b2"), latest("c", "c2, and longer")]);
    pass_on(&outbound, &[latest("c", "c3"), latest("b", "b3")]);
    assert_eq!(outbound.0.state.lock().backlog.superseded(), 4);
    assert_eq!(drain(&outbound, &mut reader).await, ["a1", "b1", "c3", "d2", "own", "b3"]);
    let state = outbound.0.state.lock();
    assert_eq!((state.backlog.frames(), state.backlog.bytes(), state.missed), (0, 0, None));
}

#[tokio::test(start_paused = true)]
async fn relays_do_not_replace_what_others_have_passed_on() {
    let (outbound, mut reader) = pipe(1);
    let other =
        |text| LatestFrame { key: Arc::new(FrameKey { relay: 2, text: "a".into() }), wire: wire(text) };
    pass_on(&outbound, &[latest("a", "one"), other("two")]);
    pass_on(&outbound, &[other("two again")]);
    assert_eq!(drain(&outbound, &mut reader).await, ["one", "two again"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_replaced_too_but_stays_behind_what_the_handler_sends() {
    let (outbound, mut reader) = pipe(1);
    pass_on(&outbound, &[latest("x", "x0"), latest("a", "a1")]);
    outbound.hold();
    pass_on(&outbound, &[latest("a", "a2"), latest("b", "b1")]);
    outbound.push(&mut wire("snapshot")).unwrap();
    pass_on(&outbound, &[latest("a", "a3")]);
    outbound.release();
    pass_on(&outbound, &[latest("a", "a4")]);
    assert_eq!(drain(&outbound, &mut reader).await, ["x0", "a1", "snapshot", "a4", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn they_never_make_a_socket_full_and_are_passed_on_to_one_that_is() {
    // Its socket is yet to come.
    let outbound = Outbound::new();
    for n in 0..UNSENT_KEYS {
        pass_on(&outbound, &[latest(&n.to_string(), "x")]);
    }
    assert_eq!((outbound.full(), outbound.take_missed()), (None, None));
    let counted = crate::slow_readers().newest;
    pass_on(&outbound, &[latest("one too many", "x"), latest("7", "newer")]);
    assert_eq!(outbound.take_missed(), Some(Missed::Count(1)));
    assert!(crate::slow_readers().newest > counted);
    for _ in 0..UNSENT_FRAMES {
        outbound.push(&mut wire("x")).unwrap();
    }
    assert!(outbound.full().is_some());
    pass_on(&outbound, &[latest("8", "newer")]);
    assert_eq!((outbound.take_missed(), outbound.0.state.lock().backlog.superseded()), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn their_bytes_are_limited_as_well() {
    let (outbound, mut reader) = pipe(1);
    let large = |key: &str| LatestFrame { wire: Bytes::from(vec![0; UNSENT_BYTES]), ..latest(key, "") };
    pass_on(&outbound, &[latest("a", "a1"), large("b")]);
    pass_on(&outbound, &[latest("c", "c1")]);
    assert_eq!((outbound.full(), outbound.take_missed()), (None, Some(Missed::Count(1))));
    pass_on(&outbound, &[latest("b", "b2")]);
    pass_on(&outbound, &[latest("c", "c2")]);
    assert_eq!(outbound.take_missed(), None, "there is room again");
    assert_eq!(drain(&outbound, &mut reader).await, ["a1", "b2", "c2"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_drops_them_but_for_the_one_that_has_begun_to_leave() {
    let (outbound, mut reader) = pipe(1);
    flush(&outbound).await;
    pass_on(&outbound, &[latest("a", "a1"), latest("b", "b1")]);
    outbound.finish_now();
    pass_on(&outbound, &[latest("b", "b2")]);
    outbound.push_protocol(&wire("close"));
    assert_eq!(drain(&outbound, &mut reader).await, ["a1", "close"]);
}

#[derive(Debug, Clone)]
enum Step {
    /// Newer values of these keys, in one turn of the relay.
    Ticks(Vec<u8>),
    Own,
    /// The client reads so many bytes.
    Reads(usize),
    Hold,
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop::collection::vec(0..KEYS, 1..8).prop_map(Step::Ticks),
        2 => Just(Step::Own),
        3 => (1..40usize).prop_map(Step::Reads),
        1 => Just(Step::Hold),
        1 => Just(Step::Release),
    ]
}

/// How many keys there are.
const KEYS: u8 = 6;

/// What was sent and what came, as texts of a key and a number that grows.
async fn run(steps: Vec<Step>, capacity: usize) -> (Vec<String>, Vec<String>) {
    let (outbound, mut reader) = pipe(capacity);
    let (mut sent, mut bytes) = (Vec::new(), Vec::new());
    // One frame of each key may wait, one that has begun to leave, and again one of each key for each seal.
    let mut most_unsent = usize::from(KEYS) + 1;
    for step in steps {
        match step {
            Step::Ticks(keys) => {
                let first = sent.len();
                sent.extend(keys.iter().enumerate().map(|(n, key)| format!("{key} {}", first + n)));
                let frames: Vec<_> = sent[first..].iter().map(|text| latest(&text[..1], text)).collect();
                pass_on(&outbound, &frames);
            }
            Step::Own => {
                sent.push(format!("own {}", sent.len()));
                outbound.push(&mut wire(&sent[sent.len() - 1])).unwrap();
                most_unsent += 1;
            }
            Step::Reads(most) => {
                take(&outbound, &mut reader, most, &mut bytes).await;
            }
            Step::Hold => outbound.hold(),
            Step::Release => {
                outbound.release();
                most_unsent += usize::from(KEYS);
            }
        }
        let unsent = outbound.0.state.lock().backlog.gather(&mut [IoSlice::new(&[]); 1024]);
        assert!(unsent <= most_unsent, "{unsent} of at most {most_unsent}");
    }
    outbound.release();
    assert_eq!((outbound.take_missed(), outbound.full()), (None, None));
    while take(&outbound, &mut reader, 64, &mut bytes).await {}
    let state = outbound.0.state.lock();
    assert!(state.backlog.is_empty() && state.backlog.frames() == 0 && state.backlog.bytes() == 0);
    (sent, texts(&bytes))
}

/// The numbers of each key, in order.
fn by_key(texts: &[String]) -> HashMap<&str, Vec<usize>> {
    let mut numbers: HashMap<&str, Vec<usize>> = HashMap::new();
    for text in texts {
        let (key, number) = text.split_once(' ').unwrap();
        numbers.entry(key).or_default().push(number.parse().unwrap());
    }
    numbers
}

proptest! {
    #[test]
    fn every_keys_latest_arrives_and_nothing_older_behind_it(
        steps in prop::collection::vec(step(), 0..60),
        capacity in 1..60usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (sent, came) = runtime.block_on(run(steps, capacity));
        let (sent, came) = (by_key(&sent), by_key(&came));
        prop_assert_eq!(sent.len(), came.len());
        for (key, sent) in sent {
            let came = &came[key];
            if key == "own" {
                prop_assert_eq!(came, &sent, "what the consumer sends is never replaced");
            }
            prop_assert_eq!(came.last(), sent.last());
            prop_assert!(came.is_sorted_by(|older, newer| older < newer), "{} {:?}", key, came);
        }
    }
}
