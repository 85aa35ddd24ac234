//! What a full queue drops, by whose choice.

use super::*;

/// Passes on frames 0 to `count` of 4 digits each to a socket that takes nothing, and reads what is left.
async fn left_of(slow_reader: SlowReader, count: usize) -> (Vec<usize>, Option<Missed>, Outbound) {
    let (outbound, mut reader) = pipe(3);
    outbound.set_slow_reader(slow_reader);
    flush(&outbound).await;
    for n in 0..count {
        assert!(outbound.pass_on(&wire(&format!("{n:04}")), 1));
    }
    let missed = outbound.take_missed();
    let left = all(&outbound, &mut reader).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes[2..].to_vec()).unwrap();
    (left.chunks(6).map(|bytes| text(bytes).parse().unwrap()).collect(), missed, outbound)
}

/// All that is queued, as the socket takes it.
async fn all(outbound: &Outbound, reader: &mut DuplexStream) -> Vec<u8> {
    let mut left = Vec::new();
    let mut buffer = [0; 64];
    loop {
        flush(outbound).await;
        match tokio::time::timeout(Duration::from_millis(1), reader.read(&mut buffer)).await {
            Ok(count) => left.extend_from_slice(&buffer[..count.unwrap()]),
            Err(_) => return left,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_or_the_oldest_are_dropped_and_counted() {
    let total = UNSENT_FRAMES + 44;
    let newest: Vec<usize> = (0..UNSENT_FRAMES).collect();
    // The first frame has begun to leave, so it leaves.
    let oldest: Vec<usize> = std::iter::once(0).chain(total + 1 - UNSENT_FRAMES..total).collect();
    for (slow_reader, expected) in
        [(SlowReader::Close, &newest), (SlowReader::DropNewest, &newest), (SlowReader::DropOldest, &oldest)]
    {
        let before = crate::slow_readers();
        let (left, missed, _outbound) = left_of(slow_reader, total).await;
        assert_eq!((&left, missed), (expected, Some(Missed::Count(44))), "{slow_reader:?}");
        let after = crate::slow_readers();
        let counted = (after.newest - before.newest, after.oldest - before.oldest);
        // Tests beside this one count, too.
        let drops_oldest = slow_reader == SlowReader::DropOldest;
        assert!(if drops_oldest { counted.1 >= 44 } else { counted.0 >= 44 }, "{slow_reader:?}: {counted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_one_of_the_choices_ends_a_socket_that_stays_full() {
    for (slow_reader, ends) in
        [(SlowReader::Close, true), (SlowReader::DropNewest, false), (SlowReader::DropOldest, false)]
    {
        let (outbound, _reader) = pipe(3);
        outbound.set_slow_reader(slow_reader);
        flush(&outbound).await;
        for n in 0..=UNSENT_FRAMES {
            outbound.pass_on(&wire(&n.to_string()), 1);
        }
        assert_eq!(outbound.full().unwrap().moves.is_none(), ends, "{slow_reader:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_relayed_is_not_pushed_out() {
    let (outbound, mut reader) = pipe(3);
    outbound.set_slow_reader(SlowReader::DropOldest);
    flush(&outbound).await;
    outbound.push(&mut wire("own 1")).unwrap();
    let key = Arc::new(FrameKey { relay: 0, text: "a".to_owned() });
    let latest = |text: &str| LatestFrame { key: Arc::clone(&key), wire: wire(text) };
    for n in 0..UNSENT_FRAMES - 1 {
        outbound.pass_on(&wire(&format!("{n:04}")), 1);
    }
    outbound.pass_on_latest(&wire("old key"), &[latest("old key")]);
    outbound.push_protocol(b"pong");
    outbound.pass_on(&wire("newest"), 1);
    // Frames have left the places before it, and still the newer one of its key finds it.
    outbound.pass_on_latest(&wire("new key"), &[latest("new key")]);
    assert_eq!(outbound.take_missed(), Some(Missed::Count(1)));
    let relayed: Vec<u8> = (1..UNSENT_FRAMES - 1).flat_map(|n| wire(&format!("{n:04}"))).collect();
    let expected = [&wire("own 1")[..], &relayed, &wire("new key"), b"pong", &wire("newest")].concat();
    let left =
        tokio::join!(read(&mut reader, expected.len()), std::future::poll_fn(|cx| outbound.poll_flush(cx))).0;
    assert_eq!(left, expected);
}

/// Reads until there is room for a consumer's own frame again.
async fn make_room(outbound: &Outbound, reader: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while outbound.full().is_some() {
        bytes.extend(read(reader, 3).await);
        flush(outbound).await;
    }
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_client_hears_that_frames_were_lost_before_it_gets_those_behind_them() {
    let (outbound, mut reader) = pipe(3);
    flush(&outbound).await;
    for n in 0..=UNSENT_FRAMES {
        outbound.pass_on(&wire(&format!("{n:04}")), 1);
    }
    let mut bytes = make_room(&outbound, &mut reader).await;
    // The consumer is still to be told when the next one comes.
    outbound.pass_on(&wire("next"), 1);
    assert_eq!(outbound.take_missed(), Some(Missed::Count(1)));
    outbound.push(&mut wire("missed 1")).unwrap();
    outbound.release();
    bytes.extend(all(&outbound, &mut reader).await);
    // Who has been told gets what is passed on at once.
    outbound.pass_on(&wire("last"), 1);
    bytes.extend(all(&outbound, &mut reader).await);
    let behind = bytes.split_off(6 * UNSENT_FRAMES);
    assert_eq!(behind, [wire("missed 1"), wire("next"), wire("last")].concat());
}

#[tokio::test(start_paused = true)]
async fn losses_one_after_another_do_not_make_the_queue_grow() {
    for slow_reader in [SlowReader::Close, SlowReader::DropNewest, SlowReader::DropOldest] {
        let (outbound, _reader) = pipe(3);
        outbound.set_slow_reader(slow_reader);
        flush(&outbound).await;
        for _ in 0..20 {
            // As from a relay that was behind: the consumer is told, and says nothing to the client.
            outbound.miss(Missed::Count(1));
            (0..UNSENT_FRAMES).for_each(|_| assert!(outbound.pass_on(&wire("x"), 1)));
            outbound.take_missed();
            outbound.release();
        }
        let frames = outbound.0.state.lock().backlog.frames();
        assert!(frames <= 2 * UNSENT_FRAMES, "{slow_reader:?}: {frames}");
    }
}

#[tokio::test(start_paused = true)]
async fn relays_that_are_begun_again_and_again_do_not_make_the_queue_grow() {
    let (outbound, _reader) = pipe(3);
    flush(&outbound).await;
    for _ in 0..20 {
        outbound.hold();
        (0..UNSENT_FRAMES).for_each(|_| assert!(outbound.pass_on(&wire("x"), 1)));
        outbound.release();
    }
    let frames = outbound.0.state.lock().backlog.frames();
    assert!(frames <= 2 * UNSENT_FRAMES, "{frames}");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_back_leaves_also_when_there_is_one_loss_after_another() {
    for slow_reader in [SlowReader::Close, SlowReader::DropNewest, SlowReader::DropOldest] {
        let (outbound, mut reader) = pipe(1 << 16);
        outbound.set_slow_reader(slow_reader);
        flush(&outbound).await;
        outbound.miss(Missed::Count(1));
        let mut events = 0;
        for _ in 0..3 {
            outbound.take_missed();
            // Its handler takes so long that more is lost.
            (0..=UNSENT_FRAMES).for_each(|_| assert!(outbound.pass_on(&wire("event"), 1)));
            outbound.push(&mut wire("missed")).unwrap();
            outbound.release();
            events += (all(&outbound, &mut reader).await.len() - 8) / 7;
        }
        assert!(events >= 3 * UNSENT_FRAMES - 3, "{slow_reader:?}: {events}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_sends_after_a_loss_takes_no_room_from_what_is_kept_back() {
    let (outbound, _reader) = pipe(3);
    flush(&outbound).await;
    outbound.miss(Missed::Unknown);
    outbound.take_missed();
    (0..UNSENT_FRAMES).for_each(|_| outbound.push(&mut wire("row")).unwrap());
    outbound.pass_on(&wire("change"), 1);
    assert_eq!(outbound.take_missed(), None);
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_back_comes_before_what_a_relay_begins_with() {
    let (outbound, mut reader) = pipe(1024);
    flush(&outbound).await;
    outbound.miss(Missed::Unknown);
    outbound.pass_on(&wire("old"), 1);
    outbound.take_missed();
    outbound.hold();
    outbound.pass_on(&wire("new 1"), 1);
    // The same handler begins another.
    outbound.hold();
    outbound.push(&mut wire("snapshot")).unwrap();
    outbound.miss(Missed::Unknown);
    outbound.pass_on(&wire("new 2"), 1);
    outbound.release();
    let untold = [wire("old"), wire("snapshot"), wire("new 1")].concat();
    assert_eq!(all(&outbound, &mut reader).await, untold);
    outbound.take_missed();
    outbound.release();
    assert_eq!(all(&outbound, &mut reader).await, wire("new 2"));
}

#[tokio::test(start_paused = true)]
async fn dropping_what_is_large_makes_room() {
    let (outbound, _reader) = pipe(6);
    outbound.set_slow_reader(SlowReader::DropOldest);
    flush(&outbound).await;
    outbound.pass_on(&wire("0000"), 1);
    outbound.pass_on(&Bytes::from(vec![0; UNSENT_BYTES]), 1);
    assert!(outbound.full().is_some());
    outbound.pass_on(&wire("b"), 1);
    assert_eq!((outbound.full(), outbound.take_missed()), (None, Some(Missed::Count(1))));
}
