"""What the figures of the sessions show, prices and volumes: other price levels, repeated, frozen and shifted bars."""
