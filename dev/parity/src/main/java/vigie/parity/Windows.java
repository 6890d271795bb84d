package vigie.parity;

/** Session, sliding and unlimited windows, emission on close, suppression, co-grouping. */
final class Windows {
    private Windows() {}

    static void topologies() {}
}
